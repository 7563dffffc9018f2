package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

func seed(f *testing.F) {
	for _, data := range nasty() {
		f.Add(data)
	}
	whole := file(sub(graphInit, number(tensorDims, 4), number(tensorType, 1), text(tensorName, "w"), text(tensorRaw, "1234123412341234")),
		externalTensor("v", "w.bin", "0", "16"))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(file(sub(graphNode, text(nodeInput, "x"), text(nodeOutput, "z"), text(nodeOp, "If"), sub(nodeAttr,
		text(attrName, "then_branch"), number(attrType, attrIsGraph), sub(attrG, sub(graphNode, text(nodeInput, "x"),
			text(nodeOutput, "q"), text(nodeOp, "Neg")))))))
	f.Add(functionFile())
}

// FuzzParseDocument looks for a file that doesn't come back as it was.
func FuzzParseDocument(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var d *Document
		var err error
		memtest.Within(t, len(data), 64, 1<<20, func() { d, err = ParseDocument(data, "") })
		var fe *FormatError
		switch {
		case err == nil && !bytes.Equal(d.Bytes(), data):
			t.Errorf("%x came back as %x", data, d.Bytes())
		case err != nil && !errors.As(err, &fe):
			t.Errorf("%v is no FormatError", err)
		}
	})
}

// FuzzSkeleton looks for a file that is refused before its values are read, but
// not by its whole content, or for another reason where it isn't protobuf.
func FuzzSkeleton(f *testing.F) {
	seed(f)
	f.Add(file(sub(graphInit, number(tensorDims, 40), number(tensorType, 7), text(tensorName, "w"), text(tensorInt64s, strings.Repeat("\x81\x01", 40)))))
	f.Add(file(sub(graphInit, number(tensorDims, 9), number(tensorType, 1), text(tensorName, "w"), func(w *parts) {
		for i := range 9 {
			w.float(tensorFloats, float32(i))
		}
	})))
	path := filepath.Join(f.TempDir(), "model.onnx")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		d, want := parseDocument(data, path, "", fileLimits)
		var s *skeleton
		memtest.Within(t, len(data), 64, 1<<20, func() { s, err = readSkeleton(in, int64(len(data)), 8) })
		if err != nil {
			t.Fatal(err)
		}
		sketch, got := s.parse()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v, from the whole content %v", got, want)
		}
		if want != nil {
			return
		}
		sketch.dir = ""
		if err := sketch.structure(); err != nil {
			if _, want := d.Model(); want == nil {
				t.Errorf("%v, from the whole content no error", err)
			}
		}
	})
}

// FuzzModel looks for a file that decodes, but doesn't encode and decode to
// the same graph.
func FuzzModel(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var d *Document
		var m *Model
		var err error
		memtest.Within(t, len(data), 100, 1<<20, func() {
			if d, err = ParseDocument(data, ""); err == nil {
				m, err = d.Model()
			}
		})
		if err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Errorf("%v is no FormatError", err)
			}
			return
		}
		Check(m)
		d.Check()
		again, err := m.Encode()
		if err != nil {
			return // what can't be written says so
		}
		if d, err = ParseDocument(again, ""); err != nil {
			t.Fatal(err)
		}
		back, err := d.Model()
		if err != nil {
			t.Fatal(err)
		}
		if m.Graph.Name == "" {
			m.Graph.Name = back.Graph.Name
		}
		if got, want := back.Graph.String(), m.Graph.String(); got != want {
			t.Errorf("%s\ncame back as\n%s", want, got)
		}
	})
}

// FuzzExternal looks for a description of external data that reaches out of
// the folder or beyond the file.
func FuzzExternal(f *testing.F) {
	dir := f.TempDir()
	content := []byte("0123456789abcdef")
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), content, 0o666); err != nil {
		f.Fatal(err)
	}
	outside := filepath.Join(f.TempDir(), "secret.bin")
	if err := errors.Join(os.WriteFile(outside, []byte("SECRETSECRET"), 0o666), os.Symlink(outside, filepath.Join(dir, "link.bin")),
		os.Symlink(filepath.Dir(outside), filepath.Join(dir, "folder"))); err != nil {
		f.Fatal(err)
	}
	f.Add("link.bin", "0", "4", int64(1), int64(1))
	f.Add("folder/secret.bin", "0", "4", int64(1), int64(1))
	f.Add("w.bin", "0", "16", int64(4), int64(1))
	f.Add("./w.bin", "4", "", int64(0), int64(1))
	f.Add("../w.bin", "0", "4", int64(1), int64(1))
	f.Add("/etc/passwd", "-1", "9223372036854775808", int64(1<<62), int64(1<<62))
	f.Add("w.bin", "9223372036854775807", "4", int64(1), int64(7))
	f.Fuzz(func(t *testing.T, location, offset, length string, size, kind int64) {
		first := externalTensor("a", "w.bin", "2", "4")
		second := sub(graphInit, number(tensorDims, size), number(tensorType, kind), text(tensorName, "b"), number(tensorLocation, 1),
			sub(tensorExternal, text(entryKey, "location"), text(entryValue, location)),
			sub(tensorExternal, text(entryKey, "offset"), text(entryValue, offset)),
			sub(tensorExternal, text(entryKey, "length"), text(entryValue, length)))
		d, err := ParseDocument(file(first, second), dir)
		if err != nil {
			return
		}
		m, err := d.Model()
		if e := (*FormatError)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no FormatError", err)
		}
		if err != nil {
			return
		}
		for _, v := range m.Graph.Inits {
			if err := v.Data.Check(); err != nil || !bytes.Contains(content, v.Data.Raw) {
				t.Errorf("%s is %q (%v)", v.Name, v.Data.Raw, err)
			}
		}
	})
}
