package jpeg

import (
	"encoding/binary"
	"fmt"
)

const lookBits = 10

// huffman decodes codes of up to lookBits bits by one table look-up, and
// longer ones by comparing with the largest code of each length.
type huffman struct {
	look    [1 << lookBits]entry
	maxCode [17]int32 // largest code of a length, -1 where there is none
	offset  [17]int32 // index into symbols minus the smallest code
	symbols []uint8
}

// entry is what begins with some lookBits bits: the number that the symbol
// announces (16 bits), the symbol (8), the length of the code (4; 0 where it has
// more bits), and its length with the number's (4; 0 where that has more).
type entry uint32

func newEntry(symbol uint8, code uint, bits uint32) entry {
	e := entry(symbol)<<8 | entry(code)<<4
	size := uint(symbol & 15)
	if size == 0 || code+size > lookBits {
		return e
	}
	v := extend(int32(bits>>(lookBits-code-size))&(1<<size-1), size)
	return e | entry(v)<<16 | entry(code+size)
}

func (e entry) value() int16  { return int16(e >> 16) }
func (e entry) symbol() uint8 { return uint8(e >> 8) }
func (e entry) run() int      { return int(e >> 12 & 15) }
func (e entry) code() uint    { return uint(e >> 4 & 15) }
func (e entry) whole() uint   { return uint(e & 15) }

// extend is the sign convention of T.81, F.2.2.1, for numbers of n bits.
func extend(v int32, n uint) int32 {
	return v + (v>>((n-1)&31)-1)&(1-1<<(n&31)) // without a branch
}

func (d *decoder) huffmanTables(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 {
			return fmt.Errorf("%w: Huffman table of %d bytes", ErrCorrupt, len(s))
		}
		class, index, total := s[0]>>4, s[0]&15, 0
		for _, n := range s[1:17] {
			total += int(n)
		}
		if class > 1 || index > 3 || total > 256 || len(s) < 17+total {
			return fmt.Errorf("%w: Huffman table %#x with %d symbols", ErrCorrupt, s[0], total)
		}
		h, err := newHuffman(s[1:17], s[17:17+total])
		if err != nil {
			return err
		}
		if class == 0 {
			d.dc[index] = h
		} else {
			d.ac[index] = h
		}
		s = s[17+total:]
	}
	return nil
}

func newHuffman(counts, symbols []byte) (*huffman, error) {
	h := &huffman{symbols: append([]uint8(nil), symbols...)}
	code, k := int32(0), 0
	for length := 1; length <= 16; length++ {
		n := int(counts[length-1])
		h.offset[length] = int32(k) - code
		h.maxCode[length] = -1
		for range n {
			if length <= lookBits {
				first := int(code) << (lookBits - length)
				last := int(code+1) << (lookBits - length)
				if last > len(h.look) {
					return nil, fmt.Errorf("%w: Huffman table has too many codes of %d bits", ErrCorrupt, length)
				}
				for i := first; i < last; i++ {
					h.look[i] = newEntry(symbols[k], uint(length), uint32(i))
				}
			}
			h.maxCode[length] = code
			code, k = code+1, k+1
		}
		if code > 1<<length {
			return nil, fmt.Errorf("%w: Huffman table has too many codes of %d bits", ErrCorrupt, length)
		}
		code <<= 1
	}
	return h, nil
}

// bitReader reads entropy-coded data up to the next marker. Behind the end it
// delivers zeros and counts them, so that only overrun has to be asked, now
// and then, instead of an error for every bit.
type bitReader struct {
	data []byte
	pos  int
	acc  uint64 // the next bits, most significant first
	n    uint   // how many of them are valid
	fake uint   // how many of the valid bits lie behind the end
	bad  bool   // a code that no table has was met
}

// fill makes at least 57 bits valid.
func (r *bitReader) fill() {
	if r.pos+8 <= len(r.data) {
		w := binary.BigEndian.Uint64(r.data[r.pos:])
		if (^w-0x0101010101010101)&w&0x8080808080808080 == 0 { // no byte is 0xff
			// Bits below the whole bytes are right too, and met again by the next fill.
			r.acc |= w >> r.n
			r.pos += int((64 - r.n) >> 3)
			r.n += (64 - r.n) &^ 7
			return
		}
	}
	for r.n <= 56 {
		var b byte
		switch {
		case r.fake > 0 || r.pos >= len(r.data):
			r.fake += 8
		case r.data[r.pos] != 0xff:
			b = r.data[r.pos]
			r.pos++
		case r.pos+1 < len(r.data) && r.data[r.pos+1] == 0:
			b = 0xff
			r.pos += 2
		default:
			r.fake += 8
		}
		r.acc |= uint64(b) << (56 - r.n)
		r.n += 8
	}
}

// overrun says whether bits behind the end were used.
func (r *bitReader) overrun() bool { return r.fake > r.n }

// symbol decodes one code and leaves at least 16 more valid bits.
func (r *bitReader) symbol(h *huffman) uint8 {
	if r.n < 32 {
		r.fill()
	}
	if e := h.look[r.acc>>(64-lookBits)]; e.code() != 0 {
		r.acc <<= e.code()
		r.n -= e.code()
		return e.symbol()
	}
	for length := uint(lookBits + 1); length <= 16; length++ {
		code := int32(r.acc >> (64 - length))
		if code <= h.maxCode[length] {
			r.acc <<= length
			r.n -= length
			return h.symbols[code+h.offset[length]]
		}
	}
	r.bad = true
	return 0
}

// bits reads n <= 16 bits after symbol.
func (r *bitReader) bits(n uint) int32 {
	v := int32(r.acc >> (64 - n))
	r.acc <<= n
	r.n -= n
	return v
}

// number reads one of n <= 15 bits after symbol.
func (r *bitReader) number(n uint) int32 {
	if n == 0 {
		return 0
	}
	return extend(r.bits(n), n)
}

func (r *bitReader) bit() bool {
	if r.n == 0 {
		r.fill()
	}
	return r.bits(1) != 0
}
