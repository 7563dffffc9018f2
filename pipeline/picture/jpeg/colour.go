package jpeg

// Colour conversion in 16-bit fixed point, as libjpeg's jdcolor tables: the
// shares for red and blue are rounded to whole levels, those for green are
// 65536 times as large, cbToG with the rounding of their sum.
var crToR, cbToB, crToG, cbToG = colourTables()

func colourTables() (crToR, cbToB, crToG, cbToG [256]int32) {
	const half = 1 << 15
	for i := range 256 {
		x := int32(i) - 128
		crToR[i] = (91881*x + half) >> 16  // 1.40200
		cbToB[i] = (116130*x + half) >> 16 // 1.77200
		crToG[i] = -46802 * x              // 0.71414
		cbToG[i] = -22554*x + half         // 0.34414
	}
	return crToR, cbToB, crToG, cbToG
}

// isYCC decides, as libjpeg does, whether the first three components are
// luma and chroma rather than colours.
func (d *decoder) isYCC() bool {
	if len(d.comps) == 4 {
		return d.adobe && d.adobeColor != 0
	}
	switch {
	case d.jfif:
		return true
	case d.adobe:
		return d.adobeColor != 0
	}
	return !(d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B')
}

// output upsamples, converts and interleaves all rows.
func (d *decoder) output(pix []byte) {
	n := len(d.comps)
	width := d.mcusX * 8 * d.hMax
	for i := range n {
		if len(d.scratch.rows[i]) < width {
			d.scratch.rows[i] = make([]byte, width)
		}
	}
	if len(d.scratch.sums) < width {
		d.scratch.sums = make([]int32, width)
	}
	ycc := n > 1 && d.isYCC()
	for y := range d.height {
		dst := pix[y*d.width*n:][:d.width*n]
		if n == 1 {
			copy(dst, d.row(0, y))
			continue
		}
		a, b, c := d.row(0, y)[:d.width], d.row(1, y)[:d.width], d.row(2, y)[:d.width]
		switch {
		case n == 3 && ycc:
			yccToRGB(dst, a, b, c)
		case n == 3:
			interleave(dst, a, b, c)
		default:
			interleave4(dst, a, b, c, d.row(3, y)[:d.width], ycc)
		}
	}
}

func yccToRGB(dst, luma, cb, cr []byte) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, l := range luma {
		v, b, r := int32(l), cb[x], cr[x]
		o := dst[3*x : 3*x+3 : 3*x+3]
		o[0] = clamp(v + crToR[r])
		o[1] = clamp(v + (cbToG[b]+crToG[r])>>16)
		o[2] = clamp(v + cbToB[b])
	}
}

func interleave(dst, a, b, c []byte) {
	for x := range a {
		dst[3*x], dst[3*x+1], dst[3*x+2] = a[x], b[x], c[x]
	}
}

// interleave4 writes CMYK; YCCK holds the complement of CMY as YCC.
func interleave4(dst, a, b, c, k []byte, ycc bool) {
	for x := range a {
		o := dst[4*x : 4*x+4]
		o[0], o[1], o[2], o[3] = a[x], b[x], c[x], k[x]
		if ycc {
			v := int32(a[x])
			o[0] = 255 - clamp(v+crToR[c[x]])
			o[1] = 255 - clamp(v+(cbToG[b[x]]+crToG[c[x]])>>16)
			o[2] = 255 - clamp(v+cbToB[b[x]])
		}
	}
}
