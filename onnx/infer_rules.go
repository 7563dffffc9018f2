package onnx

// inferRules is keyed by domain:operator, with "" for ai.onnx.
var inferRules = map[string]inferRule{}
