package picture

import (
	"archive/tar"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"testing"
)

// formatFiles reads testdata/formats.tar.gz: small files of every form, each with
// PIL's pixels. The recipe is testdata/recipes/picture_formats.py.
func formatFiles(t testing.TB) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/formats.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryFormatDecodesToPILsPixels(t *testing.T) {
	files := formatFiles(t)
	n := 0
	for name, data := range files {
		if strings.HasSuffix(name, ".rgb") {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			var p RGB
			if err := p.Decode(data); err != nil {
				t.Fatal(err)
			}
			want := files[name+".rgb"]
			if h, w := int(binary.LittleEndian.Uint32(want)), int(binary.LittleEndian.Uint32(want[4:])); p.W != w || p.H != h {
				t.Fatalf("%dx%d, want %dx%d", p.W, p.H, w, h)
			}
			differ, worst, first := 0, 0, -1
			for i, v := range want[8:] {
				if d := max(int(v)-int(p.Pix[i]), int(p.Pix[i])-int(v)); d > 0 {
					if first < 0 {
						first = i
					}
					differ, worst = differ+1, max(worst, d)
				}
			}
			if differ > 0 {
				t.Errorf("%d of %d samples differ, by up to %d; the first in column %d, row %d", differ, len(p.Pix), worst, first/3%p.W, first/3/p.W)
			}
		})
	}
	if n < 60 {
		t.Errorf("only %d files", n)
	}
}
