package zipfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx/memtest"
)

// pack makes an archive by the standard library, entries stored and deflated
// in turn.
func pack(t testing.TB, contents ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, c := range contents {
		f, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprint("f", i), Method: uint16(i % 2 * 8)})
		if err == nil {
			_, err = f.Write([]byte(c))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(data []byte) (*Archive, error) {
	return Open("x.zip", bytes.NewReader(data), int64(len(data)))
}

// readAll reads every entry.
func readAll(data []byte) ([]string, error) {
	a, err := open(data)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range a.Entries {
		c, err := a.Read(e)
		if err != nil {
			return nil, err
		}
		out = append(out, string(c))
	}
	return out, nil
}

func TestEntriesReadAsTheyWerePacked(t *testing.T) {
	want := []string{"stored", strings.Repeat("deflated ", 100), "", ""}
	got, err := readAll(pack(t, want...))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %q, %v", got, err)
	}
	if got, err := readAll(pack(t)); err != nil || got != nil {
		t.Errorf("an empty archive gives %q, %v", got, err)
	}
}

// patch sets bytes at the n-th occurrence of a signature.
func patch(data []byte, signature string, n, at int, value ...byte) []byte {
	out := bytes.Clone(data)
	i := 0
	for range n + 1 {
		i += bytes.Index(out[i:], []byte(signature)) + 1
	}
	copy(out[i-1+at:], value)
	return out
}

func TestFaultyArchivesAreRefused(t *testing.T) {
	whole := pack(t, "abcdefgh", strings.Repeat("x", 1000), "ijklmnop")
	far := []byte{0xff, 0xff, 0xff, 0x7f}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":              {nil, "no directory"},
		"text":               {[]byte("PK\x03\x04 nothing else"), "no directory"},
		"directory beyond":   {patch(whole, endSignature, 0, 16, far...), "beyond the file's end"},
		"directory too long": {patch(whole, endSignature, 0, 12, far...), "beyond the file's end"},
		"wide without":       {patch(whole, endSignature, 0, 16, 255, 255, 255, 255), "large form"},
		"entry beyond":       {patch(whole, directorySignature, 0, 42, far...), "beyond the file's end"},
		"entry too large":    {patch(whole, directorySignature, 0, 20, far...), "beyond the file's end"},
		"overlap":            {patch(patch(whole, directorySignature, 1, 42, 0, 0, 0, 0), localSignature, 0, 30, 'f', '1'), "another name"},
		"twice":              {bytes.ReplaceAll(whole, []byte("f2"), []byte("f0")), "two entries"},
		"encrypted":          {patch(whole, directorySignature, 0, 8, 1), "encrypted"},
		"method":             {patch(whole, directorySignature, 1, 10, 12), "method 12"},
		"stored sizes":       {patch(whole, directorySignature, 0, 24, 7), "yet of 7 bytes and 8"},
		"bomb":               {patch(whole, directorySignature, 1, 24, far...), "can't unpack"},
		"checksum":           {patch(whole, directorySignature, 0, 16, 1, 2, 3, 4), "checksum"},
		"longer":             {patch(whole, directorySignature, 1, 24, 100, 0, 0, 0), "longer than"},
		"shorter":            {patch(whole, directorySignature, 1, 24, 0, 5, 0, 0), "can't be unpacked"},
		"broken directory":   {patch(whole, directorySignature, 1, 0, 'x'), "broken at entry 1"},
		"broken header":      {patch(whole, localSignature, 1, 0, 'x'), "its header is broken"},
		"into directory":     {patch(patch(whole, directorySignature, 2, 20, 60), directorySignature, 2, 24, 60), "overlaps the archive's directory"},
		"into next":          {patch(patch(whole, directorySignature, 0, 20, 60), directorySignature, 0, 24, 60), "overlaps another entry"},
	} {
		_, err := readAll(c.data)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for n := range whole {
		if _, err := readAll(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(whole))
		}
	}
}

// TestZipBombsAreRefused packs 600 MB of zeros into 600 KB.
func TestZipBombsAreRefused(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for i := range 2 {
		f, err := w.Create(fmt.Sprint(i))
		for range 300 {
			if err == nil {
				_, err = f.Write(zeros)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	_, err := readAll(b.Bytes())
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "zip bomb") {
		t.Errorf("it gives %v", err)
	}
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 10 || time.Since(start) > 10*time.Second {
		t.Errorf("refusing it took %d MB, %v", mb, time.Since(start))
	}
}

// wide rewrites an archive's end so that only the large form of the format
// tells where things are.
func wide(data []byte) []byte {
	end := bytes.LastIndex(data, []byte(endSignature))
	tail := data[end:]
	at, length := le.Uint32(tail[16:]), le.Uint32(tail[12:])
	out := bytes.Clone(data[:end])
	record := make([]byte, end64Length)
	copy(record, end64Signature)
	le.PutUint64(record[4:], end64Length-12)
	le.PutUint64(record[40:], uint64(length))
	le.PutUint64(record[48:], uint64(at))
	locator := make([]byte, locatorLength)
	copy(locator, locatorSignature)
	le.PutUint64(locator[8:], uint64(len(out)))
	out = append(append(out, record...), locator...)
	tail = bytes.Clone(tail)
	le.PutUint32(tail[16:], math.MaxUint32)
	return append(out, tail...)
}

func TestTheLargeFormIsRead(t *testing.T) {
	got, err := readAll(wide(pack(t, "a", "b")))
	if err != nil || fmt.Sprint(got) != "[a b]" {
		t.Errorf("read %q, %v", got, err)
	}
	far := wide(pack(t, "a", "b"))
	far = patch(far, end64Signature, 0, 48, 0, 0, 0, 0, 0, 0, 0, 0x80)
	if _, err := readAll(far); err == nil {
		t.Error("a directory at byte 2^63 was read")
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(pack(f, "abc", "defg"))
	f.Add(wide(pack(f, "abc", strings.Repeat("x", 300))))
	f.Fuzz(func(t *testing.T, data []byte) {
		var err error
		memtest.Within(t, len(data), 2*1100, 4<<20, func() { _, err = readAll(data) }) // what deflate can unpack, and a copy
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
	})
}
