package jpeg

import "encoding/binary"

// Constants of the Loeffler, Ligtenberg and Moschytz inverse DCT in 13-bit
// fixed point, as libjpeg's accurate integer method (jidctint) defines it.
const (
	constBits = 13
	pass1Bits = 2

	fix0_298631336 = 2446
	fix0_390180644 = 3196
	fix0_541196100 = 4433
	fix0_765366865 = 6270
	fix0_899976223 = 7373
	fix1_175875602 = 9633
	fix1_501321110 = 12299
	fix1_847759065 = 15137
	fix1_961570560 = 16069
	fix2_053119869 = 16819
	fix2_562915447 = 20995
	fix3_072711026 = 25172
)

// idct dequantizes a block, transforms it, and stores 8x8 samples at dst.
func idct(b *block, q *[64]int32, dst []byte, stride int) {
	var ws [64]int32
	for x := range 8 {
		c0 := int32(b[x]) * q[x]
		low := b[8+x] | b[16+x] | b[24+x]
		high := b[32+x] | b[40+x] | b[48+x] | b[56+x]
		if low|high == 0 {
			c0 <<= pass1Bits
			for y := 0; y < 64; y += 8 {
				ws[y+x] = c0
			}
			continue
		}
		const shift = constBits - pass1Bits
		var o0, o1, o2, o3, o4, o5, o6, o7 int32
		if high == 0 {
			o0, o1, o2, o3, o4, o5, o6, o7 = lowButterfly(c0, int32(b[8+x])*q[8+x], int32(b[16+x])*q[16+x], int32(b[24+x])*q[24+x], 1<<(shift-1))
		} else {
			o0, o1, o2, o3, o4, o5, o6, o7 = butterfly(c0, int32(b[8+x])*q[8+x], int32(b[16+x])*q[16+x], int32(b[24+x])*q[24+x],
				int32(b[32+x])*q[32+x], int32(b[40+x])*q[40+x], int32(b[48+x])*q[48+x], int32(b[56+x])*q[56+x], 1<<(shift-1))
		}
		ws[x], ws[8+x], ws[16+x], ws[24+x] = o0>>shift, o1>>shift, o2>>shift, o3>>shift
		ws[32+x], ws[40+x], ws[48+x], ws[56+x] = o4>>shift, o5>>shift, o6>>shift, o7>>shift
	}
	for y := range 8 {
		row := dst[y*stride : y*stride+8 : y*stride+8]
		w := ws[8*y : 8*y+8 : 8*y+8]
		low, high := w[1]|w[2]|w[3], w[4]|w[5]|w[6]|w[7]
		if low|high == 0 {
			fill(row, clamp((w[0]+1<<(pass1Bits+2))>>(pass1Bits+3)+128))
			continue
		}
		const shift = constBits + pass1Bits + 3
		var o0, o1, o2, o3, o4, o5, o6, o7 int32
		if high == 0 {
			o0, o1, o2, o3, o4, o5, o6, o7 = lowButterfly(w[0], w[1], w[2], w[3], 1<<(shift-1))
		} else {
			o0, o1, o2, o3, o4, o5, o6, o7 = butterfly(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], 1<<(shift-1))
		}
		row[0], row[1], row[2], row[3] = clamp(o0>>shift+128), clamp(o1>>shift+128), clamp(o2>>shift+128), clamp(o3>>shift+128)
		row[4], row[5], row[6], row[7] = clamp(o4>>shift+128), clamp(o5>>shift+128), clamp(o6>>shift+128), clamp(o7>>shift+128)
	}
}

// level is idct of a block without other coefficients than the first.
func level(c0 int32, dst []byte, stride int) {
	v := clamp((c0<<pass1Bits+1<<(pass1Bits+2))>>(pass1Bits+3) + 128)
	for y := range 8 {
		fill(dst[y*stride:y*stride+8:y*stride+8], v)
	}
}

func fill(row []byte, v byte) {
	binary.LittleEndian.PutUint64(row, uint64(v)*0x0101010101010101)
}

// lowButterfly is butterfly where c4 to c7 are zero.
func lowButterfly(c0, c1, c2, c3, round int32) (r0, r1, r2, r3, r4, r5, r6, r7 int32) {
	e0 := c0<<constBits + round
	e2 := c2 * fix0_541196100
	e3 := e2 + c2*fix0_765366865
	t10, t13 := e0+e3, e0-e3
	t11, t12 := e0+e2, e0-e2

	z5 := (c3 + c1) * fix1_175875602
	z3 := z5 - c3*fix1_961570560
	z4 := z5 - c1*fix0_390180644
	z1, z2 := c1*fix0_899976223, c3*fix2_562915447
	o0 := z3 - z1
	o1 := z4 - z2
	o2 := c3*fix3_072711026 - z2 + z3
	o3 := c1*fix1_501321110 - z1 + z4
	return t10 + o3, t11 + o2, t12 + o1, t13 + o0, t13 - o0, t12 - o1, t11 - o2, t10 - o3
}

// butterfly is the one-dimensional transform, scaled by 2^constBits, with
// round added to every result for the shift that follows.
func butterfly(c0, c1, c2, c3, c4, c5, c6, c7, round int32) (r0, r1, r2, r3, r4, r5, r6, r7 int32) {
	z1 := (c2 + c6) * fix0_541196100
	e2 := z1 - c6*fix1_847759065
	e3 := z1 + c2*fix0_765366865
	e0 := (c0+c4)<<constBits + round
	e1 := (c0-c4)<<constBits + round
	t10, t13 := e0+e3, e0-e3
	t11, t12 := e1+e2, e1-e2

	z5 := (c7 + c3 + c5 + c1) * fix1_175875602
	z3 := z5 - (c7+c3)*fix1_961570560
	z4 := z5 - (c5+c1)*fix0_390180644
	z1 = -(c7 + c1) * fix0_899976223
	z2 := -(c5 + c3) * fix2_562915447
	o0 := c7*fix0_298631336 + z1 + z3
	o1 := c5*fix2_053119869 + z2 + z4
	o2 := c3*fix3_072711026 + z2 + z3
	o3 := c1*fix1_501321110 + z1 + z4
	return t10 + o3, t11 + o2, t12 + o1, t13 + o0, t13 - o0, t12 - o1, t11 - o2, t10 - o3
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}
