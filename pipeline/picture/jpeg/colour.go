package jpeg

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

// output upsamples, converts and interleaves, a row of MCUs at a time.
func (d *decoder) output(pix []byte) {
	n, ycc := len(d.comps), len(d.comps) > 1 && d.isYCC()
	for y := 0; y < d.height; y += 8 * d.vMax {
		rows := min(8*d.vMax, d.height-y)
		dst := pix[y*d.width*n:][:rows*d.width*n]
		var in [4]strip
		for i := range n {
			in[i] = d.strip(i, y, y+rows)
		}
		switch {
		case n == 3 && ycc:
			yccToRGB(dst, in[0], in[1], in[2], d.width, rows)
		case ycc:
			d.yccToCMY(dst, in, rows)
		default:
			for i := range n {
				d.interleave(dst, in[i], i, rows)
			}
		}
	}
}

// strip is component i's rows of the picture at full size.
func (d *decoder) strip(i, from, to int) strip {
	c := &d.comps[i]
	hx, vx := d.hMax/c.h, d.vMax/c.v
	if hx == 1 && vx == 1 {
		return strip{c.plane[from*c.stride:], c.stride}
	}
	width := c.stride * hx
	d.scratch.strips[i] = grow(d.scratch.strips[i], width*8*d.vMax)
	out := strip{d.scratch.strips[i], width}
	c.upsample(out, hx, vx, from, to)
	return out
}

// interleave stores channel i of dst (rows,width,channels).
func (d *decoder) interleave(dst []byte, in strip, i, rows int) {
	n := len(d.comps)
	for y := range rows {
		out := dst[y*d.width*n:][:d.width*n]
		for x, v := range in.row(y, d.width) {
			out[x*n+i] = v
		}
	}
}

// yccToCMY makes CMYK of YCCK, which holds the complement of CMY as YCC.
func (d *decoder) yccToCMY(dst []byte, in [4]strip, rows int) {
	d.scratch.rgb = grow(d.scratch.rgb, 3*d.width*rows)
	yccToRGB(d.scratch.rgb, in[0], in[1], in[2], d.width, rows)
	for i, v := range d.scratch.rgb {
		dst[i/3*4+i%3] = 255 - v
	}
	d.interleave(dst, in[3], 3, rows)
}
