package main

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline/demo"
)

// writeTinyCheckpoint writes a Vision Transformer of 32x32 pixels and six
// classes with random weights.
func writeTinyCheckpoint(path string) error {
	a, err := models.NewArchitecture(`{"img_size":32,"patch_size":8,"embed_dim":32,"depth":2,"num_heads":2,"num_classes":6}`)
	if err != nil {
		return err
	}
	c, err := models.RandomCheckpoint(a, 1)
	if err != nil {
		return err
	}
	return c.Save(path)
}

// writePictures writes class folders of pictures with masks.
func writePictures(dir string, n int) error {
	pictures, err := demo.Generate(1, n, demo.Options{Size: 40, Betray: 0.5})
	if err != nil {
		return err
	}
	return demo.WriteFolders(dir, pictures)
}

// fixtures makes what the scripts work on: fixtures writes weights.safetensors
// and the folder data.
func fixtures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: fixtures")
	}
	ts.Check(writeTinyCheckpoint(ts.MkAbs("weights.safetensors")))
	ts.Check(writePictures(ts.MkAbs("data"), 24))
}

// cut keeps the first half of a file: cut FROM TO.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FROM TO")
	}
	data := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:len(data)/2]), 0o666))
}
