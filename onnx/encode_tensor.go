package onnx

import "fmt"

func (t *Tensor) encodeType(w *parts) {
	for _, d := range t.Dims {
		w.integer(tensorDims, d)
	}
	w.integer(tensorType, int64(t.Type))
}

func (t *Tensor) encode(w *parts, name string) {
	t.encodeType(w)
	for _, s := range t.Strings {
		w.bytes(tensorStrings, s)
	}
	w.text(tensorName, name)
	if t.Type != String {
		w.bytes(tensorRaw, t.Raw)
	}
}

func (t *Tensor) encodeExternal(w *parts, name string, at placed) {
	t.encodeType(w)
	w.text(tensorName, name)
	for _, kv := range []KV{{"location", at.location}, {"offset", fmt.Sprint(at.offset)}, {"length", fmt.Sprint(len(t.Raw))}} {
		w.message(tensorExternal, func(w *parts) {
			w.text(entryKey, kv.Key)
			w.text(entryValue, kv.Value)
		})
	}
	w.integer(tensorLocation, 1)
}

// encodeInfo writes a ValueInfoProto.
func (v *Value) encodeInfo(w *parts) {
	w.text(infoName, v.Name)
	if v.Type == Undefined {
		return
	}
	w.message(infoType, func(w *parts) {
		w.message(typeTensor, func(w *parts) {
			w.integer(tensorTypeElem, int64(v.Type))
			if v.Shape == nil {
				return
			}
			w.message(tensorTypeShape, func(w *parts) {
				for _, d := range v.Shape {
					w.message(shapeDim, d.encode)
				}
			})
		})
	})
}

func (d Dim) encode(w *parts) {
	switch {
	case d.Known():
		w.integer(dimValue, d.N)
	case d != Unknown:
		w.text(dimParam, d.String())
	}
}
