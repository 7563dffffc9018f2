package models

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/models/npz"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/models/torchfile"
)

// kind is what a file is by its first bytes.
type kind int

const (
	kindUnknown kind = iota
	kindSafetensors
	kindTorch
	kindNumPy
	kindJSON
	kindONNX
	kindForeign // something else that is known
)

// Suffixes of files whose faults OpenCheckpoint explains, whatever their
// content: of those that it reads, and of others.
var (
	readSuffixes    = []string{".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".npz"}
	foreignSuffixes = []string{".npy", ".h5", ".keras", ".msgpack", ".gguf", ".index"}
)

// signatures tell by how a file begins that it is no file of weights that can
// be read.
var signatures = []struct{ begins, what, advice string }{
	{"version https://git-lfs.github.com/spec/", "a pointer of Git LFS, not the weights themselves", "fetch them with git lfs pull, or download the file from its site"},
	{npz.Magic, "a single NumPy array", "save all arrays of the model in one file: numpy.savez"},
	{"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write", "export the model to ONNX with tf2onnx"},
	{"GGUF", "a GGUF file for llama.cpp", "take the model's safetensors file"},
	{"\x1f\x8b", "compressed by gzip", "unpack it first"},
	{"BZh", "compressed by bzip2", "unpack it first"},
	{"\xfd7zXZ\x00", "compressed by xz", "unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", "unpack it first"},
	{"Rar!", "an archive of RAR", "unpack it first"},
	{"%PDF", "a PDF document", "give the file of weights"},
	{"\x89PNG", "a picture", "give the file of weights"},
	{"\xff\xd8\xff", "a picture", "give the file of weights"},
}

// headSize is how much of a file is looked at to tell its kind.
const headSize = 1024

// sniff reads the beginning of a file and tells its kind. Of a file that is
// something else, the error says what.
func sniff(path string) (kind, error) {
	if err := regular(path); err != nil {
		return kindUnknown, err
	}
	f, err := os.Open(path)
	if err != nil {
		return kindUnknown, unreadable(path, err)
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return kindUnknown, unreadable(path, err)
	}
	head = head[:n]
	k := kindOf(head)
	if k != kindUnknown {
		return k, nil
	}
	if what, advice := foreign(head); what != "" {
		return kindForeign, &Error{Path: path, Problem: "this is no file of weights but " + what, Advice: advice}
	}
	return kindUnknown, nil
}

// regular refuses what isn't a file: opening a pipe waits, and a device may have
// no end.
func regular(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return unreadable(path, err)
	case !info.Mode().IsRegular():
		return &Error{Path: path, Problem: "this is no file", Advice: "give a file of weights"}
	}
	return nil
}

// unreadable is the fault of a path that can't be opened, followed or read.
func unreadable(path string, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return &Error{Path: path, Problem: "it can't be read", Err: err}
}

func kindOf(head []byte) kind {
	switch {
	case len(head) > 8 && binary.LittleEndian.Uint64(head) <= safetensors.MaxHeader && head[8] == '{':
		return kindSafetensors
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		if len(head) > 30 && bytes.Contains(head[30:min(len(head), 30+int(binary.LittleEndian.Uint16(head[26:])))], []byte(".npy")) {
			return kindNumPy
		}
		return kindTorch
	case torchfile.IsLegacy(head):
		return kindTorch
	case bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")):
		return kindJSON
	case len(head) > 2 && head[0] == 8 && head[1] < 32 && strings.ContainsRune("\x12\x1a\x22\x2a\x32\x3a\x42", rune(head[2])):
		return kindONNX
	}
	return kindUnknown
}

// foreign names what a file is that begins so; empty if that isn't known.
func foreign(head []byte) (what, advice string) {
	const again = "download it again, from a link to the raw file"
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.begins)) {
			return s.what, s.advice
		}
	}
	text := bytes.ToLower(bytes.TrimLeft(head, " \t\r\n\ufeff"))
	switch {
	case len(head) == 0:
		return "an empty file", "download it again"
	case bytes.HasPrefix(text, []byte("<!doctype html")), bytes.HasPrefix(text, []byte("<html")):
		return "a web page", again
	case bytes.HasPrefix(text, []byte("<?xml")):
		return "an XML text", again
	case len(head) > 8 && string(head[4:8]) == "TFL3":
		return "a TensorFlow Lite model", "export the original model to ONNX with tf2onnx"
	case len(head) > 262 && string(head[257:262]) == "ustar", bytes.HasPrefix(head, []byte("sys_info\x00")):
		return "a tar archive", "unpack it; of PyTorch's own tar format (before 2017), save the weights anew with torch.save"
	case len(head) > 1 && head[0] == 0x80 && head[1] <= 5:
		return "a Python pickle that torch.save didn't write", "save the weights with torch.save(model.state_dict(), \"weights.pth\")"
	}
	return "", ""
}

// IsCheckpoint reports whether OpenCheckpoint is to read what is there, or to
// tell what is wrong with it: a folder, a file with a checkpoint's content, or
// with a checkpoint's suffix. An ONNX model is none.
func IsCheckpoint(path string) bool {
	suffix := strings.ToLower(filepath.Ext(path))
	bySuffix := slices.Contains(readSuffixes, suffix) || slices.Contains(foreignSuffixes, suffix) || suffix == ".json"
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return bySuffix
	case info.IsDir():
		return true
	case !info.Mode().IsRegular():
		return false
	}
	switch k, _ := sniff(path); k {
	case kindSafetensors, kindTorch, kindNumPy:
		return true
	case kindONNX:
		return false
	case kindForeign:
		return bySuffix || info.Size() > 0
	}
	return bySuffix
}
