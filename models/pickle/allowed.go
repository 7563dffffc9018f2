package pickle

import "strings"

// A role is what a pickle may do with a global.
type role int

const (
	refused role = iota
	value        // it may occur, but nothing is made of it
	call         // a Call is made of it
	mapping      // a Dict is made of it
	list         // a List is made of it
	set          // a Set is made of it
)

// allowed lists what files of weights need: PyTorch's tensors, NumPy's scalars
// and arrays, and the kinds of data in which training scripts keep options.
var allowed = map[Global]role{
	{"collections", "OrderedDict"}: mapping,
	{"collections", "defaultdict"}: mapping,
	{"collections", "Counter"}:     mapping,

	{"collections", "deque"}: list,

	{"argparse", "Namespace"}:           call,
	{"types", "SimpleNamespace"}:        call,
	{"yacs.config", "CfgNode"}:          mapping,
	{"fvcore.common.config", "CfgNode"}: mapping,
	{"easydict", "EasyDict"}:            mapping,
	{"addict.addict", "Dict"}:           mapping,
	{"pathlib", "Path"}:                 call,
	{"pathlib", "PosixPath"}:            call,
	{"pathlib", "WindowsPath"}:          call,
	{"pathlib", "PurePosixPath"}:        call,
	{"pathlib", "PureWindowsPath"}:      call,
	{"pathlib._local", "PosixPath"}:     call,
	{"pathlib._local", "WindowsPath"}:   call,
	{"datetime", "datetime"}:            call,
	{"datetime", "timedelta"}:           call,
	{"datetime", "date"}:                call,
	{"datetime", "time"}:                call,
	{"datetime", "timezone"}:            call,
	{"decimal", "Decimal"}:              call,
	{"uuid", "UUID"}:                    call,

	{"typing", "Any"}:                                                   value,
	{"omegaconf.dictconfig", "DictConfig"}:                              call,
	{"omegaconf.listconfig", "ListConfig"}:                              call,
	{"omegaconf.base", "ContainerMetadata"}:                             call,
	{"omegaconf.base", "Metadata"}:                                      call,
	{"omegaconf.nodes", "AnyNode"}:                                      call,
	{"omegaconf.nodes", "StringNode"}:                                   call,
	{"omegaconf.nodes", "IntegerNode"}:                                  call,
	{"omegaconf.nodes", "FloatNode"}:                                    call,
	{"omegaconf.nodes", "BooleanNode"}:                                  call,
	{"pytorch_lightning.utilities.parsing", "AttributeDict"}:            mapping,
	{"lightning.pytorch.utilities.parsing", "AttributeDict"}:            mapping,
	{"lightning_fabric.utilities.data", "AttributeDict"}:                mapping,
	{"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"}: value,
	{"pytorch_lightning.callbacks.early_stopping", "EarlyStopping"}:     value,

	{"_codecs", "encode"}:          call,
	{"copyreg", "_reconstructor"}:  call,
	{"copy_reg", "_reconstructor"}: call,

	{"numpy", "dtype"}:                         call,
	{"numpy", "ndarray"}:                       call,
	{"numpy.core.multiarray", "scalar"}:        call,
	{"numpy.core.multiarray", "_reconstruct"}:  call,
	{"numpy._core.multiarray", "scalar"}:       call,
	{"numpy._core.multiarray", "_reconstruct"}: call,
	{"numpy.core.numeric", "_frombuffer"}:      call,
	{"numpy._core.numeric", "_frombuffer"}:     call,

	{"torch.torch_version", "TorchVersion"}:                    call,
	{"torch", "Size"}:                                          call,
	{"torch", "device"}:                                        call,
	{"torch", "Tensor"}:                                        value,
	{"torch.nn.parameter", "Parameter"}:                        value,
	{"torch.nn.parameter", "Buffer"}:                           value,
	{"torch.storage", "UntypedStorage"}:                        value,
	{"torch.storage", "_UntypedStorage"}:                       value,
	{"torch", "UntypedStorage"}:                                value,
	{"torch.serialization", "_get_layout"}:                     call,
	{"torch._tensor", "_rebuild_from_type_v2"}:                 call,
	{"torch._utils", "_rebuild_tensor"}:                        call,
	{"torch._utils", "_rebuild_tensor_v2"}:                     call,
	{"torch._utils", "_rebuild_tensor_v3"}:                     call,
	{"torch._utils", "_rebuild_parameter"}:                     call,
	{"torch._utils", "_rebuild_parameter_with_state"}:          call,
	{"torch._utils", "_rebuild_qtensor"}:                       call,
	{"torch._utils", "_rebuild_sparse_tensor"}:                 call,
	{"torch._utils", "_rebuild_sparse_csr_tensor"}:             call,
	{"torch._utils", "_rebuild_nested_tensor"}:                 call,
	{"torch._utils", "_rebuild_meta_tensor_no_storage"}:        call,
	{"torch._utils", "_rebuild_device_tensor_from_numpy"}:      call,
	{"torch._utils", "_rebuild_device_tensor_from_cpu_tensor"}: call,
}

// builtins are harmless classes of Python's own, in its versions 3 and 2.
var builtins = map[string]role{
	"set": set, "frozenset": set, "dict": mapping,
	"complex": call, "int": call, "float": call, "bool": call, "str": call, "bytes": call, "bytearray": call,
	"list": call, "tuple": call, "slice": call, "range": call, "xrange": call, "long": call, "unicode": call, "object": value,
}

// torchValues are constants of the module torch.
var torchValues = strings.Fields(`float32 float float64 double float16 half bfloat16 complex32 complex64 complex128
	uint8 int8 int16 short int32 int int64 long bool uint16 uint32 uint64 quint8 qint8 qint32 quint4x2 quint2x4
	float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu
	per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams
	strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc contiguous_format channels_last preserve_format`)

// storages are the classes torch.XStorage, and torch.cuda.XStorage in old
// files.
var storages = strings.Fields(`Float Double Half BFloat16 Byte Char Short Int Long Bool ComplexFloat ComplexDouble
	QUInt8 QInt8 QInt32 QUInt4x2 QUInt2x4`)

func init() {
	for name, r := range builtins {
		allowed[Global{"builtins", name}] = r
		allowed[Global{"__builtin__", name}] = r
	}
	for _, name := range torchValues {
		allowed[Global{"torch", name}] = value
	}
	for _, name := range storages {
		allowed[Global{"torch", name + "Storage"}] = value
		allowed[Global{"torch.cuda", name + "Storage"}] = value
	}
}
