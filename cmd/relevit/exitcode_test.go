package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

func TestEveryErrorHasItsExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, done},
		{errors.New("x"), failed},
		{os.ErrPermission, failed},
		{usagef("x"), usage},
		{&configs.Error{}, usage},
		{&models.Error{Usage: true}, usage},
		{&models.Error{}, badInput},
		{&onnx.FormatError{}, badInput},
		{&safetensors.Error{}, badInput},
		{&ort.LoadError{Err: errors.New("x")}, badInput},
		{&ort.LoadError{Err: &ort.MissingError{}}, noRuntime},
		{&ort.MissingError{}, noRuntime},
		{inputs("no/such/file"), badInput},
		{context.Canceled, interrupted},
		{pipeline.ErrInterrupted, interrupted},
		{&pipeline.ExistsError{}, usage},
		{pipeline.ErrNoRun, usage},
		{&pipeline.CheckpointError{}, badInput},
		{&pipeline.NotFiniteError{}, failed},
		{&passes.RaiseError{}, badInput},
		{&gradients.MissingRuleError{}, badInput},
		{&dataset.Error{Kind: dataset.ErrMissing}, badInput},
		{&picture.Error{Err: errors.New("x")}, badInput},
	} {
		for _, err := range []error{c.err, fmt.Errorf("doing: %w", c.err)} {
			if c.err == nil {
				err = nil
			}
			if got := exitCode(err); got != c.want {
				t.Errorf("%T %v: exit code %d, want %d", c.err, err, got, c.want)
			}
		}
	}
}
