package onnx

import "google.golang.org/protobuf/encoding/protowire"

// fieldInfo says what a field of an ONNX message is.
type fieldInfo struct {
	name string
	many bool   // repeated
	msg  string // the message it holds, "" for scalars, strings and bytes
}

// schema is onnx.proto as far as it concerns reading: every field that holds a
// message, and the names of the others for error messages. Fields that aren't
// here are kept as they are.
var schema = map[string]map[protowire.Number]fieldInfo{
	"ModelProto": {
		1: {name: "ir_version"}, 2: {name: "producer_name"}, 3: {name: "producer_version"},
		4: {name: "domain"}, 5: {name: "model_version"}, 6: {name: "doc_string"},
		7:  {name: "graph", msg: "GraphProto"},
		8:  {name: "opset_import", many: true, msg: "OperatorSetIdProto"},
		14: {name: "metadata_props", many: true, msg: "StringStringEntryProto"},
		20: {name: "training_info", many: true, msg: "TrainingInfoProto"},
		25: {name: "functions", many: true, msg: "FunctionProto"},
		26: {name: "configuration", many: true},
	},
	"OperatorSetIdProto":     {1: {name: "domain"}, 2: {name: "version"}},
	"StringStringEntryProto": {1: {name: "key"}, 2: {name: "value"}},
	"TrainingInfoProto": {
		1: {name: "initialization", msg: "GraphProto"}, 2: {name: "algorithm", msg: "GraphProto"},
		3: {name: "initialization_binding", many: true, msg: "StringStringEntryProto"},
		4: {name: "update_binding", many: true, msg: "StringStringEntryProto"},
	},
	"FunctionProto": {
		1: {name: "name"}, 4: {name: "input", many: true}, 5: {name: "output", many: true},
		6: {name: "attribute", many: true}, 7: {name: "node", many: true, msg: "NodeProto"},
		8: {name: "doc_string"}, 9: {name: "opset_import", many: true, msg: "OperatorSetIdProto"},
		10: {name: "domain"}, 11: {name: "attribute_proto", many: true, msg: "AttributeProto"},
		12: {name: "value_info", many: true, msg: "ValueInfoProto"}, 13: {name: "overload"},
		14: {name: "metadata_props", many: true, msg: "StringStringEntryProto"},
	},
	"GraphProto": {
		1: {name: "node", many: true, msg: "NodeProto"}, 2: {name: "name"},
		5: {name: "initializer", many: true, msg: "TensorProto"}, 10: {name: "doc_string"},
		11: {name: "input", many: true, msg: "ValueInfoProto"},
		12: {name: "output", many: true, msg: "ValueInfoProto"},
		13: {name: "value_info", many: true, msg: "ValueInfoProto"},
		14: {name: "quantization_annotation", many: true, msg: "TensorAnnotation"},
		15: {name: "sparse_initializer", many: true, msg: "SparseTensorProto"},
		16: {name: "metadata_props", many: true, msg: "StringStringEntryProto"},
	},
	"TensorAnnotation": {
		1: {name: "tensor_name"},
		2: {name: "quant_parameter_tensor_names", many: true, msg: "StringStringEntryProto"},
	},
	"NodeProto": {
		1: {name: "input", many: true}, 2: {name: "output", many: true}, 3: {name: "name"}, 4: {name: "op_type"},
		5: {name: "attribute", many: true, msg: "AttributeProto"}, 6: {name: "doc_string"}, 7: {name: "domain"},
		8: {name: "overload"}, 9: {name: "metadata_props", many: true, msg: "StringStringEntryProto"},
		10: {name: "device_configurations", many: true},
	},
	"AttributeProto": {
		1: {name: "name"}, 2: {name: "f"}, 3: {name: "i"}, 4: {name: "s"},
		5: {name: "t", msg: "TensorProto"}, 6: {name: "g", msg: "GraphProto"},
		7: {name: "floats", many: true}, 8: {name: "ints", many: true}, 9: {name: "strings", many: true},
		10: {name: "tensors", many: true, msg: "TensorProto"}, 11: {name: "graphs", many: true, msg: "GraphProto"},
		13: {name: "doc_string"}, 14: {name: "tp", msg: "TypeProto"},
		15: {name: "type_protos", many: true, msg: "TypeProto"}, 20: {name: "type"}, 21: {name: "ref_attr_name"},
		22: {name: "sparse_tensor", msg: "SparseTensorProto"},
		23: {name: "sparse_tensors", many: true, msg: "SparseTensorProto"},
	},
	"TensorProto": {
		1: {name: "dims", many: true}, 2: {name: "data_type"}, 3: {name: "segment"},
		4: {name: "float_data", many: true}, 5: {name: "int32_data", many: true},
		6: {name: "string_data", many: true}, 7: {name: "int64_data", many: true}, 8: {name: "name"},
		9: {name: "raw_data"}, 10: {name: "double_data", many: true}, 11: {name: "uint64_data", many: true},
		12: {name: "doc_string"}, 13: {name: "external_data", many: true, msg: "StringStringEntryProto"},
		14: {name: "data_location"}, 16: {name: "metadata_props", many: true, msg: "StringStringEntryProto"},
	},
	"SparseTensorProto": {
		1: {name: "values", msg: "TensorProto"}, 2: {name: "indices", msg: "TensorProto"}, 3: {name: "dims", many: true},
	},
	"ValueInfoProto": {
		1: {name: "name"}, 2: {name: "type", msg: "TypeProto"}, 3: {name: "doc_string"},
		4: {name: "metadata_props", many: true, msg: "StringStringEntryProto"},
	},
	"TypeProto": {
		1: {name: "tensor_type", msg: "TypeProto.Tensor"}, 4: {name: "sequence_type", msg: "TypeProto.Sequence"},
		5: {name: "map_type", msg: "TypeProto.Map"}, 6: {name: "denotation"}, 7: {name: "opaque_type"},
		8: {name: "sparse_tensor_type", msg: "TypeProto.Tensor"}, 9: {name: "optional_type", msg: "TypeProto.Sequence"},
	},
	"TypeProto.Tensor":           {1: {name: "elem_type"}, 2: {name: "shape", msg: "TensorShapeProto"}},
	"TypeProto.Sequence":         {1: {name: "elem_type", msg: "TypeProto"}},
	"TypeProto.Map":              {1: {name: "key_type"}, 2: {name: "value_type", msg: "TypeProto"}},
	"TensorShapeProto":           {1: {name: "dim", many: true, msg: "TensorShapeProto.Dimension"}},
	"TensorShapeProto.Dimension": {1: {name: "dim_value"}, 2: {name: "dim_param"}, 3: {name: "denotation"}},
}

// Field numbers which the code uses, named as message then field.
const (
	modelIR, modelProducer, modelProducerVersion          = 1, 2, 3
	modelDomain, modelVersion, modelDoc, modelGraph       = 4, 5, 6, 7
	modelOpsets, modelMetadata, modelFunctions            = 8, 14, 25
	graphNode, graphName, graphInit, graphDoc             = 1, 2, 5, 10
	graphInput, graphOutput, graphValueInfo, graphSparse  = 11, 12, 13, 15
	nodeInput, nodeOutput, nodeName, nodeOp               = 1, 2, 3, 4
	nodeAttr, nodeDoc, nodeDomain                         = 5, 6, 7
	attrName, attrF, attrI, attrS, attrT, attrG           = 1, 2, 3, 4, 5, 6
	attrFloats, attrInts, attrStrings                     = 7, 8, 9
	attrTensors, attrGraphs, attrType, attrRef            = 10, 11, 20, 21
	tensorDims, tensorType, tensorSegment, tensorFloats   = 1, 2, 3, 4
	tensorInt32s, tensorStrings, tensorInt64s, tensorName = 5, 6, 7, 8
	tensorRaw, tensorDoubles, tensorUint64s               = 9, 10, 11
	tensorExternal, tensorLocation                        = 13, 14
	entryKey, entryValue                                  = 1, 2
	opsetDomain, opsetVersion                             = 1, 2
	functionName, functionNode, functionDomain            = 1, 7, 10
	functionInput, functionOutput                         = 4, 5
	functionOpsets, functionDefaults                      = 9, 11
	infoName, infoType                                    = 1, 2
	typeTensor, tensorTypeElem, tensorTypeShape           = 1, 1, 2
	shapeDim, dimValue, dimParam                          = 1, 1, 2
	attrIsFloat, attrIsInt, attrIsString, attrIsTensor    = 1, 2, 3, 4
	attrIsGraph, attrIsFloats, attrIsInts, attrIsStrings  = 5, 6, 7, 8
)
