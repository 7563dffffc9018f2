package ort

// #cgo CFLAGS: -O3 -Wno-psabi
// #include "product.h"
// #include "rows.h"
import "C"

import (
	"errors"
	"reflect"
	"sync"
	"unsafe"

	binding "github.com/yalue/onnxruntime_go"
)

// rowsDomain is the process's own operators, made once: sessions share it.
var rowsDomain struct {
	sync.Mutex
	made handle
}

// Products reports whether this processor runs the nodes of passes.FuseProducts.
func Products() bool { return C.product_here() != 0 }

// addRows lets a session have the nodes of passes.FuseRows, FuseHeads and FuseProducts.
func addRows(so *binding.SessionOptions) error {
	api, _, err := current()
	if err != nil {
		return err
	}
	options := reflect.ValueOf(so).Elem().FieldByName("o")
	if options.Kind() != reflect.Pointer {
		return errors.New("this version of the Go binding keeps its session options elsewhere: use the version in go.mod")
	}
	rowsDomain.Lock()
	defer rowsDomain.Unlock()
	if rowsDomain.made == nil {
		var made unsafe.Pointer
		if err := api.check(C.rows_domain(api.table, &made)); err != nil {
			return err
		}
		rowsDomain.made = made
	}
	return api.check(C.rows_add(api.table, options.UnsafePointer(), rowsDomain.made))
}
