package jpeg

import "fmt"

// scanState is what decoding the blocks of one scan needs.
type scanState struct {
	r          bitReader
	comps      []scanComponent
	start, end int  // spectral selection
	high, low  uint // successive approximation
	eobRun     int  // blocks still to come without new coefficients
}

type scanComponent struct {
	*component
	dc, ac *huffman
	pred   int32
}

// decodeBlock reads one block's share of a scan into b.
type decodeBlock func(s *scanState, c *scanComponent, b *block)

func (d *decoder) scan(header []byte) error {
	if d.comps == nil {
		return fmt.Errorf("%w: scan before the frame header", ErrCorrupt)
	}
	if d.scans == 0 {
		if err := d.allocate(); err != nil {
			return err
		}
	}
	if d.scans++; d.scans > maxScans {
		return fmt.Errorf("%w: more than %d scans", ErrUnsupported, maxScans)
	}
	s, err := d.scanHeader(header)
	if err != nil {
		return err
	}
	decode, err := d.decoding(s)
	if err != nil {
		return err
	}
	s.r = bitReader{data: d.data, pos: d.pos}
	if len(s.comps) == 1 {
		err = d.scanSingle(s, decode)
	} else {
		err = d.scanInterleaved(s, decode)
	}
	d.pos = s.r.pos
	return err
}

func (d *decoder) scanHeader(b []byte) (*scanState, error) {
	if len(b) < 1 || b[0] < 1 || int(b[0]) > len(d.comps) || len(b) != 4+2*int(b[0]) {
		return nil, fmt.Errorf("%w: scan header of %d bytes", ErrCorrupt, len(b))
	}
	n := int(b[0])
	s := &scanState{start: 0, end: 63}
	for i := range n {
		id, tables := b[1+2*i], b[2+2*i]
		var c *component
		for j := range d.comps {
			if d.comps[j].id == id {
				c = &d.comps[j]
			}
		}
		if c == nil || tables>>4 > 3 || tables&15 > 3 {
			return nil, fmt.Errorf("%w: scan names component %d, tables %#x", ErrCorrupt, id, tables)
		}
		for _, other := range s.comps {
			if other.component == c {
				return nil, fmt.Errorf("%w: scan names component %d twice", ErrCorrupt, id)
			}
		}
		if c.quant == nil { // libjpeg, too, keeps the table of the first scan
			c.quant = d.quant[c.quantIndex]
		}
		if c.quant == nil {
			return nil, fmt.Errorf("%w: quantization table %d is not defined", ErrCorrupt, c.quantIndex)
		}
		s.comps = append(s.comps, scanComponent{component: c, dc: d.dc[tables>>4], ac: d.ac[tables&15]})
	}
	if d.progressive {
		p := b[1+2*n:]
		s.start, s.end, s.high, s.low = int(p[0]), int(p[1]), uint(p[2]>>4), uint(p[2]&15)
		dcScan := s.start == 0 && s.end == 0
		acScan := s.start > 0 && s.end >= s.start && s.end < 64 && n == 1
		if !dcScan && !acScan || s.low > 13 || s.high != 0 && s.high != s.low+1 {
			return nil, fmt.Errorf("%w: progressive scan of coefficients %d..%d, bits %d..%d, %d components",
				ErrCorrupt, s.start, s.end, s.high, s.low, n)
		}
	}
	return s, nil
}

// decoding picks the block decoder, and checks that its tables are defined.
func (d *decoder) decoding(s *scanState) (decodeBlock, error) {
	needDC := !d.progressive || s.start == 0 && s.high == 0
	needAC := !d.progressive || s.start > 0
	for _, c := range s.comps {
		if needDC && c.dc == nil || needAC && c.ac == nil {
			return nil, fmt.Errorf("%w: scan needs a Huffman table that is not defined", ErrCorrupt)
		}
	}
	switch {
	case !d.progressive:
		return sequentialBlock, nil
	case s.start == 0 && s.high == 0:
		return dcFirst, nil
	case s.start == 0:
		return dcRefine, nil
	case s.high == 0:
		return acFirst, nil
	}
	return acRefine, nil
}

// scanSingle reads a scan of one component, whose MCU is one block.
func (d *decoder) scanSingle(s *scanState, decode decodeBlock) error {
	c := &s.comps[0]
	across := c.stride / 8
	for by := range c.blocksY {
		if err := d.slide(s); err != nil {
			return err
		}
		coefs := c.coefs
		if d.progressive {
			coefs = coefs[by*across:]
		}
		coefs = coefs[:c.blocksX]
		for bx := range coefs {
			if err := d.restart(s, by*c.blocksX+bx); err != nil {
				return err
			}
			decode(s, c, &coefs[bx])
		}
		if err := s.check(by, c.blocksY); err != nil {
			return err
		}
		if !d.progressive {
			d.reconstruct(c.component, by, by+1)
			clear(coefs)
		}
	}
	return nil
}

func (d *decoder) scanInterleaved(s *scanState, decode decodeBlock) error {
	blocks := 0
	for i := range s.comps {
		blocks += s.comps[i].h * s.comps[i].v
	}
	if blocks > 10 {
		return fmt.Errorf("%w: %d blocks in an MCU", ErrCorrupt, blocks)
	}
	for my := range d.mcusY {
		if err := d.slide(s); err != nil {
			return err
		}
		for mx := range d.mcusX {
			if err := d.restart(s, my*d.mcusX+mx); err != nil {
				return err
			}
			for i := range s.comps {
				c := &s.comps[i]
				across, first := c.stride/8, 0
				if d.progressive {
					first = my * c.v
				}
				for y := first; y < first+c.v; y++ {
					for x := mx * c.h; x < (mx+1)*c.h; x++ {
						decode(s, c, &c.coefs[y*across+x])
					}
				}
			}
		}
		if err := s.check(my, d.mcusY); err != nil {
			return err
		}
		if d.progressive {
			continue
		}
		for i := range s.comps {
			c := &s.comps[i]
			d.reconstruct(c.component, my*c.v, min((my+1)*c.v, c.blocksY))
			clear(c.coefs)
		}
	}
	return nil
}

func (s *scanState) check(row, rows int) error {
	if s.r.bad {
		return fmt.Errorf("%w: a code outside its Huffman table in block row %d of %d", ErrCorrupt, row, rows)
	}
	if s.r.overrun() {
		return fmt.Errorf("%w: picture data ends in block row %d of %d", ErrTruncated, row, rows)
	}
	return nil
}

// restart begins a new restart interval where one is due before this MCU.
func (d *decoder) restart(s *scanState, mcu int) error {
	if d.restartInterval == 0 || mcu == 0 || mcu%d.restartInterval != 0 {
		return nil
	}
	if s.r.overrun() {
		return fmt.Errorf("%w: picture data ends before MCU %d", ErrTruncated, mcu)
	}
	d.pos = s.r.pos // never beyond a marker
	m, err := d.nextMarker()
	if err != nil {
		return err
	}
	if want := uint8(markerRST0 + (mcu/d.restartInterval-1)%8); m != want {
		return fmt.Errorf("%w: restart marker %#x where %#x is due", ErrCorrupt, m, want)
	}
	bad := s.r.bad
	s.r = bitReader{data: d.data, pos: d.pos, bad: bad}
	s.eobRun = 0
	for i := range s.comps {
		s.comps[i].pred = 0
	}
	return nil
}
