package main

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// gaps are a file's content with zeros that take no space on disk.
type gaps []gap

// gap is a text, and zeros behind it.
type gap struct {
	text  string
	zeros int64
}

func (g gaps) size() (n int64) {
	for _, p := range g {
		n += int64(len(p.text)) + p.zeros
	}
	return n
}

func says(texts ...string) gaps { return gaps{{text: strings.Join(texts, "")}} }

func joined(all ...gaps) (out gaps) {
	for _, g := range all {
		out = append(out, g...)
	}
	return out
}

// holding is field around content.
func (g gaps) holding(num protowire.Number) gaps {
	return append(gaps{{text: announced(num, uint64(g.size()))}}, g...)
}

// cut is the first part of the content.
func (g gaps) cut(n int64) (out gaps) {
	for _, p := range g {
		p.text = p.text[:min(n, int64(len(p.text)))]
		n -= int64(len(p.text))
		p.zeros = min(n, p.zeros)
		n -= p.zeros
		out = append(out, p)
	}
	return out
}

func (g gaps) write(name string) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		at := int64(0)
		for _, p := range g {
			_, bad := f.WriteAt([]byte(p.text), at)
			err = errors.Join(err, bad)
			at += int64(len(p.text)) + p.zeros
		}
		return errors.Join(err, f.Truncate(at), f.Close())
	}
}

// bulks are hundreds of megabytes in a graph, in every form that numbers and
// texts come in; short of them are as many, with a number too few.
func bulks() map[string]struct{ whole, short gaps } {
	bulk := func(kind int64, dims int64, data gaps) gaps {
		return joined(says(number(1, dims), number(2, kind), field(8, "bulk")), data).holding(5)
	}
	zeros := func(num protowire.Number, n int64) gaps { return gaps{{zeros: n}}.holding(num) }
	repeated := func(element string, times int) (out gaps) {
		piece := strings.Repeat(element, 1<<16)
		for range times >> 16 {
			out = append(out, gap{text: piece})
		}
		return out
	}
	float, double, long := string(protowire.AppendTag(nil, 4, protowire.Fixed32Type))+"1234", string(protowire.AppendTag(nil, 10, protowire.Fixed64Type))+"12345678",
		string(protowire.AppendTag(nil, 7, protowire.VarintType))+"\x80\x01"
	many := func(n int, size int64) (out gaps) {
		for i := range n {
			out = append(out, joined(says(number(1, size/4), number(2, 1), field(8, "bulk", string(rune('a'+i%26)), strings.Repeat("x", i/26%100), strings.Repeat("y", i/2600))), zeros(9, size)).holding(5)...)
		}
		return out
	}
	constant := func(attr string, value gaps) gaps {
		return joined(says(field(2, "bulk"), field(4, "Constant")), joined(says(field(1, attr)), value).holding(5)).holding(1)
	}
	float32s := string(protowire.AppendTag(nil, 7, protowire.Fixed32Type)) + "1234"
	tensorOf := func(dims int64) gaps {
		return joined(says(number(1, dims), number(2, 1)), zeros(4, 300<<20)).holding(5)
	}
	const n = 300 << 20
	return map[string]struct{ whole, short gaps }{
		"float_data":            {bulk(1, n/4, zeros(4, n)), bulk(1, n/4+1, zeros(4, n))},
		"double_data":           {bulk(11, n/8, zeros(10, n)), bulk(11, n/8+1, zeros(10, n))},
		"int32_data":            {bulk(10, n, zeros(5, n)), bulk(10, n+1, zeros(5, n))},
		"int64_data":            {bulk(7, n, zeros(7, n)), bulk(7, n+1, zeros(7, n))},
		"uint64_data":           {bulk(13, n, zeros(11, n)), bulk(13, n+1, zeros(11, n))},
		"single float_data":     {bulk(1, 1<<25, repeated(float, 1<<25)), bulk(1, 1<<25+1, repeated(float, 1<<25))},
		"single double_data":    {bulk(11, 1<<24, repeated(double, 1<<24)), bulk(11, 1<<24+1, repeated(double, 1<<24))},
		"single int64_data":     {bulk(7, 1<<25, repeated(long, 1<<25)), bulk(7, 1<<25+1, repeated(long, 1<<25))},
		"10000 tensors":         {many(10_000, 64<<10), joined(many(10_000, 64<<10), bulk(1, 3, says(raw("1234"))))},
		"40000 tensors":         {many(40_000, 8<<10), joined(many(40_000, 8<<10), bulk(1, 3, says(raw("1234"))))},
		"a Constant":            {constant("value", joined(tensorOf(n/4), says(number(20, 4)))), constant("value", joined(tensorOf(n/4+1), says(number(20, 4))))},
		"a Constant of floats":  {constant("value_floats", joined(repeated(float32s, 1<<25), says(number(20, 6)))), nil},
		"a Constant of ints":    {constant("value_ints", joined(zeros(8, n), says(number(20, 7)))), nil},
		"a Constant of a text":  {constant("value_string", joined(zeros(4, n), says(number(20, 3)))), nil},
		"a Constant of texts":   {constant("value_strings", joined(zeros(9, n), says(number(20, 8)))), nil},
		"a description":         {zeros(10, n), nil},
		"metadata of the graph": {joined(says(field(1, "k")), zeros(2, n)).holding(16), nil},
	}
}

// bulkyModels are faulty graphs with all that.
func bulkyModels() []hostile {
	model := func(graph gaps) gaps {
		return joined(says(number(1, 9), field(8, number(2, 17))), joined(graph, says(input("x", 1), output("y"), field(2, "g"))).holding(7))
	}
	var out []hostile
	add := func(name, message string, file gaps, more ...func(string) error) {
		commands := readingModels
		if len(out)%6 > 0 {
			commands = commands[:1]
		}
		out = append(out, hostile{name: "bulk/" + name, file: "bad.onnx", says: message, make: both(append(more, file.write("bad.onnx"))...), commands: commands})
	}
	cycle := says(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b", "y"))
	faults := map[string][2]string{
		"a cycle":              {"", cycle[0].text},
		"a value twice":        {"already that of another value", node("Neg", "x", "y") + node("Abs", "x", "y")},
		"a value from nowhere": {`reads "z"`, node("Neg", "z", "y")},
		"two initializers":     {"two initializers", node("Neg", "x", "y") + strings.Repeat(tensor("w", []int64{1}, raw("1234")), 2)},
	}
	i := 0
	for name, b := range sorted(bulks()) {
		for fault, f := range sorted(faults) {
			if i++; i%4 == 0 || fault == "a cycle" {
				add(name+" and "+fault, f[0], model(joined(b.whole, says(f[1]))))
			}
		}
		if b.short != nil {
			add(name+", too few", "needs", model(joined(b.short, says(node("Neg", "x", "y")))))
		}
		whole := model(joined(b.whole, says(node("Neg", "x", "y"))))
		add(name+", cut", "truncated", whole.cut(whole.size()*int64(7+i*13%90)/100))
		inner := joined(b.whole[:len(b.whole)-1], b.whole[len(b.whole)-1:].cut(1), cycle)
		inner[0].text = b.whole[0].text
		add(name+", shorter than it says", "bad.onnx", model(inner))
	}
	data := func(name, location string, offset string, dims int64) gaps {
		return says(tensor(name, []int64{dims}, external("location", location, "offset", offset)))
	}
	large := gaps{{zeros: 1 << 30}}.write("large.bin")
	add("data outside and a cycle", "", model(joined(data("w", "large.bin", "0", 1<<28), cycle)), large)
	add("data outside, some beyond", "beyond the end", model(joined(data("w", "large.bin", "0", 1<<27), data("v", "large.bin", "536870916", 1<<27), says(node("Neg", "x", "y")))), large)
	add("data outside, some missing", "missing", model(joined(data("w", "large.bin", "0", 1<<28), data("v", "other.bin", "0", 1), says(node("Neg", "x", "y")))), large)
	add("data outside, some short", "beyond the end", model(joined(data("w", "large.bin", "0", 1<<28), data("v", "w.bin", "0", 2), says(node("Neg", "x", "y")))), large, write("w.bin", "1234"))
	add("10^8 dims", "initializer", model(joined(gaps{{zeros: 100 << 20}}.holding(1), says(node("Neg", "x", "y"))).holding(5)))
	add("a name of 300 MB", "a name of", model(joined(gaps{{zeros: 300 << 20}}.holding(1)).holding(1)))
	names := gaps{}
	for range 6000 {
		names = append(names, joined(gaps{{zeros: 60 << 10}}.holding(3)).holding(1)...)
	}
	add("names of 360 MB", "besides the numbers", model(names))
	add("groups of 300 MB", "bad.onnx", joined(says(string(protowire.AppendTag(nil, 99, protowire.StartGroupType))), gaps{{zeros: 300 << 20}}.holding(1)))
	return out
}

// sparsely writes zeros by leaving them out.
type sparsely struct{ *os.File }

func (s sparsely) Write(p []byte) (int, error) {
	if len(bytes.Trim(p, "\x00")) > 0 {
		return s.File.Write(p)
	}
	_, err := s.Seek(int64(len(p)), io.SeekCurrent)
	return len(p), err
}

// bulkyArchive is a zip archive of stored contents.
func bulkyArchive(name string, entries map[string]gaps) func(dir string) error {
	return func(dir string) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		w := zip.NewWriter(sparsely{f})
		for entry, content := range sorted(entries) {
			out, bad := w.CreateHeader(&zip.FileHeader{Name: entry})
			for _, g := range content {
				if bad == nil {
					_, bad = out.Write([]byte(g.text))
				}
				if bad == nil {
					_, bad = io.CopyN(out, zero{}, g.zeros)
				}
			}
			err = errors.Join(err, bad)
		}
		return errors.Join(err, w.Close(), f.Close())
	}
}

// cutAt cuts a file.
func cutAt(name string, percent int64) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		return errors.Join(err, os.Truncate(path, info.Size()*percent/100))
	}
}

// damaged changes a byte of a file, counted from its end.
func damaged(name string, fromEnd int64) func(dir string) error {
	return func(dir string) error {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		at, err := f.Seek(-fromEnd, io.SeekEnd)
		var b [1]byte
		if err == nil {
			_, err = f.ReadAt(b[:], at)
		}
		b[0] ^= 0x55
		_, bad := f.WriteAt(b[:], at)
		return errors.Join(err, bad, f.Close())
	}
}

// bulkyCheckpoints are faulty files of weights of hundreds of megabytes.
func bulkyCheckpoints() []hostile {
	const n = 300 << 20
	var out []hostile
	add := func(name, file, message string, make ...func(string) error) {
		commands := readingCheckpoints
		if len(out)%6 > 0 {
			commands = commands[:1]
		}
		out = append(out, hostile{name: "bulk/" + name, file: file, says: message, make: both(make...), commands: commands})
	}
	views := func(second int64) string {
		return "}S'v'\n" + viewOf("0", 0, fmt.Sprintf("(I%d\nt", n/4), "(I1\nt") + "sS'w'\n" + viewOf("1", 0, fmt.Sprintf("(I%d\nt", second), "(I1\nt") + "s."
	}
	archive := func(second int64) func(string) error {
		return bulkyArchive("bad.pth", map[string]gaps{"archive/data.pkl": says(views(second)), "archive/data/0": {{zeros: n}}, "archive/data/1": says("12345678")})
	}
	add("pth with a view too long", "bad.pth", "leave a storage", archive(3))
	add("pth without a storage", "bad.pth", "no archive/data/1", bulkyArchive("bad.pth", map[string]gaps{"archive/data.pkl": says(views(2)), "archive/data/0": {{zeros: n}}}))
	legacy := func(second int64, gone int64) func(string) error {
		return joined(says(legacyOf(views(second), "](S'0'\nS'1'\ne.", string(binary.LittleEndian.AppendUint64(nil, n/4)))), gaps{{zeros: n}},
			says(string(binary.LittleEndian.AppendUint64(nil, 2)), "12345678"[:8-gone])).write("bad.pth")
	}
	add("old pth with a view too long", "bad.pth", "leave a storage", legacy(3, 0))
	add("old pth, short", "bad.pth", "inside of storage", legacy(2, 1))
	array := func(dims string, data gaps) gaps {
		header := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims + ",), }\n"
		return joined(says("\x93NUMPY\x01\x00"+string(binary.LittleEndian.AppendUint16(nil, uint16(len(header))))+header), data)
	}
	arrays := func(second string) func(string) error {
		return bulkyArchive("bad.npz", map[string]gaps{"v.npy": array(fmt.Sprint(n/4), gaps{{zeros: n}}), "w.npy": array(second, says("1234"))})
	}
	add("npz with an array too short", "bad.npz", "needs 8 bytes", arrays("2"))
	add("npz with a byte changed", "bad.npz", "checksum", arrays("1"), damaged("bad.npz", 1<<20))
	tensors := func(name, second string, data gaps) func(string) error {
		header := fmt.Sprintf(`{"v":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]},"w":{"dtype":"U8","shape":[4],"data_offsets":[%s]}}`, n, n, second)
		return joined(says(string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))), header), gaps{{zeros: n}}, data).write(name)
	}
	add("safetensors that overlap", "bad.safetensors", "overlaps", tensors("bad.safetensors", "100,104", nil))
	index := func(last string) func(string) error {
		return write("bad/model.safetensors.index.json", `{"weight_map":{"v":"1.safetensors","w":"1.safetensors","z":"`+last+`"}}`)
	}
	first := tensors("bad/1.safetensors", fmt.Sprintf("%d,%d", n, n+4), says("1234"))
	add("an index of a bad file", "bad", "overlaps", index("2.safetensors"), first, tensors("bad/2.safetensors", "0,4", nil))
	add("an index of a file that is missing", "bad", "2.safetensors", index("2.safetensors"), first)
	add("an index of a tensor that isn't there", "bad", "tensor z", index("1.safetensors"), first)
	for percent := int64(3); percent < 100; percent += 16 {
		const incomplete = "incomplete download"
		add(fmt.Sprintf("pth cut at %d %%", percent), "bad.pth", incomplete, archive(2), cutAt("bad.pth", percent))
		add(fmt.Sprintf("old pth cut at %d %%", percent), "bad.pth", incomplete, legacy(2, 0), cutAt("bad.pth", percent))
		add(fmt.Sprintf("npz cut at %d %%", percent), "bad.npz", incomplete, arrays("1"), cutAt("bad.npz", percent))
		add(fmt.Sprintf("safetensors cut at %d %%", percent), "bad.safetensors", incomplete, tensors("bad.safetensors", fmt.Sprintf("%d,%d", n, n+4), says("1234")), cutAt("bad.safetensors", percent))
	}
	return out
}

// bulkyPictures are pictures of hundreds of megabytes, packed or unpacked, that
// are cut off.
func bulkyPictures() []hostile {
	le, be := binary.LittleEndian, binary.BigEndian
	var out []hostile
	add := func(name, message string, make ...func(string) error) {
		file := "bad." + strings.Fields(name)[0]
		table := func(row string) func(string) error { return write("t.csv", "image,mask,label\n"+row) }
		out = append(out, hostile{name: "bulk/" + name, file: file, says: file + "|" + message, make: both(append(make, table(file+",mask.png,1\n"))...),
			commands: readingPictures[:1], runtime: true})
		if len(out)%3 == 0 && file != "bad.jpg" {
			out = append(out, hostile{name: "bulk/mask/" + name, file: file, says: file + "|" + message, make: both(append(make, table("00005.png,"+file+",1\n"))...),
				commands: []string{readingMasks}, leaves: true, runtime: true})
		}
	}
	cut := func(name string, picture gaps, percents ...int64) {
		file := "bad." + strings.Fields(name)[0]
		for _, p := range percents {
			add(fmt.Sprintf("%s cut at %d %%", name, p), "truncated", picture.write(file), cutAt(file, p))
		}
	}
	const w, h = 12_000, 8_000 // 288 MB in RGB
	chunk := func(kind, content string) string {
		return string(be.AppendUint32(nil, uint32(len(content)))) + kind + content + string(be.AppendUint32(nil, crc32.ChecksumIEEE([]byte(kind+content))))
	}
	png := says("\x89PNG\r\n\x1a\n", chunk("IHDR", string(be.AppendUint32(be.AppendUint32(nil, w), h))+"\x08\x02\x00\x00\x00"))
	for idat := (gap{text: chunk("IDAT", strings.Repeat("\x00", 1<<20))}); png.size() < 250<<20; {
		png = append(png, idat)
	}
	png = append(png, gap{text: chunk("IEND", "")})
	cut("png", png, 2, 50, 99)
	add("png with a byte changed", "checksum", png.write("bad.png"), damaged("bad.png", 2<<20))

	gif := says("GIF89a", string(le.AppendUint16(le.AppendUint16(nil, w), h)), "\x80\x00\x00", "123456", ",\x00\x00\x00\x00", string(le.AppendUint16(le.AppendUint16(nil, w), h)), "\x00\x02")
	for blocks := (gap{text: strings.Repeat("\xff"+strings.Repeat("\x00", 255), 1<<12)}); gif.size() < 250<<20; {
		gif = append(gif, blocks)
	}
	cut("gif", append(gif, gap{text: "\x00;"}), 3, 50, 99)

	head := func(depth uint16, compression uint32) string {
		b := append([]byte("BM"), make([]byte, 8)...)
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 54+1024), 40), w), h)
		return string(append(le.AppendUint32(le.AppendUint16(le.AppendUint16(b, 1), depth), compression), make([]byte, 20+1024)...))
	}
	cut("bmp", joined(says(head(24, 0)), gaps{{zeros: 3 * w * h}}), 4, 50, 99)
	cut("bmp of runs", says(head(8, 1), strings.Repeat(strings.Repeat("\xfa\x07", w/250)+"\x00\x00", h), "\x00\x01"), 50, 99)

	data := joined(says("\x2f", string(le.AppendUint32(nil, w-1|(h-1)<<14))), gaps{{zeros: 250 << 20}})
	cut("webp", joined(says("RIFF", string(le.AppendUint32(nil, uint32(data.size()+12))), "WEBPVP8L", string(le.AppendUint32(nil, uint32(data.size())))), data), 5, 50, 99)

	strip := func(rows int) string {
		var b bytes.Buffer
		z, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
		if err == nil {
			_, err = io.CopyN(z, zero{}, int64(3*w*rows))
		}
		if err := errors.Join(err, z.Close()); err != nil {
			panic(err)
		}
		return b.String()
	}
	tiff := func(compression uint32, strip gaps) gaps {
		tags := le.AppendUint16([]byte("II*\x00\x08\x00\x00\x00"), 8)
		for _, t := range [][2]uint32{{256, w}, {257, h}, {258, 8}, {259, compression}, {262, 2}, {273, 8 + 2 + 8*12}, {277, 3}, {279, uint32(strip.size())}} {
			tags = le.AppendUint32(le.AppendUint32(le.AppendUint16(le.AppendUint16(tags, uint16(t[0])), 4), 1), t[1])
		}
		return joined(says(string(tags)), strip)
	}
	cut("tiff", tiff(8, says(strip(h))), 50, 99)
	cut("tiff uncompressed", tiff(1, gaps{{zeros: 3 * w * h}}), 50, 99)

	// A block of JPEG takes two bits: no difference from the last one, and no more.
	segment := func(marker byte, content string) string {
		return "\xff" + string([]byte{marker}) + string(be.AppendUint16(nil, uint16(len(content)+2))) + content
	}
	tables := segment(0xdb, "\x00"+strings.Repeat("\x01", 64))
	for _, class := range []string{"\x00", "\x10"} {
		tables += segment(0xc4, class+"\x01"+strings.Repeat("\x00", 15)+"\x00")
	}
	size := string(be.AppendUint16(be.AppendUint16([]byte{8}, h), w)) + "\x01\x01\x11\x00"
	blocks := w / 8 * h / 8 / 4
	cut("jpg", says("\xff\xd8", tables, segment(0xc0, size), segment(0xda, "\x01\x01\x00\x00\x3f\x00"), strings.Repeat("\x00", blocks), "\xff\xd9"), 50, 99)
	cut("jpg progressive", joined(says("\xff\xd8", tables, segment(0xc2, size), segment(0xda, "\x01\x01\x00\x00\x00\x00")), gaps{{zeros: 250 << 20}}, says("\xff\xd9")), 50, 99)
	return out
}
