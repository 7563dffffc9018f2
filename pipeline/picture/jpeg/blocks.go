package jpeg

func sequentialBlock(s *scanState, c *scanComponent, b *block) {
	r := &s.r
	c.pred += r.extend(uint(r.symbol(c.dc) & 15))
	b[0] = int16(c.pred)
	for k := 1; k < 64; k++ {
		symbol := r.symbol(c.ac)
		run, size := int(symbol>>4), uint(symbol&15)
		if size == 0 {
			if run != 15 {
				return
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			r.bad = true
			return
		}
		b[natural[k]] = int16(r.extend(size))
	}
}

func dcFirst(s *scanState, c *scanComponent, b *block) {
	c.pred += s.r.extend(uint(s.r.symbol(c.dc) & 15))
	b[0] = int16(c.pred << s.low)
}

func dcRefine(s *scanState, _ *scanComponent, b *block) {
	if s.r.bit() {
		b[0] |= 1 << s.low
	}
}

func acFirst(s *scanState, c *scanComponent, b *block) {
	if s.eobRun > 0 {
		s.eobRun--
		return
	}
	r := &s.r
	for k := s.start; k <= s.end; k++ {
		symbol := r.symbol(c.ac)
		run, size := int(symbol>>4), uint(symbol&15)
		if size == 0 {
			if run != 15 {
				s.eobRun = 1<<run + int(r.bits(uint(run))) - 1
				return
			}
			k += 15
			continue
		}
		if k += run; k > s.end {
			r.bad = true
			return
		}
		b[natural[k]] = int16(r.extend(size) << s.low)
	}
}

// acRefine follows T.81, G.1.2.3: correction bits for every coefficient that
// is nonzero already are interleaved with the codes of new ones.
func acRefine(s *scanState, c *scanComponent, b *block) {
	r := &s.r
	delta := int16(1) << s.low
	k := s.start
	if s.eobRun == 0 {
		for ; k <= s.end; k++ {
			symbol := r.symbol(c.ac)
			run, size := int(symbol>>4), symbol&15
			value := int16(0)
			if size != 0 {
				if size != 1 {
					r.bad = true
					return
				}
				value = -delta
				if r.bits(1) != 0 {
					value = delta
				}
			} else if run != 15 {
				s.eobRun = 1<<run + int(r.bits(uint(run)))
				break
			}
			k = s.correct(b, k, run, delta)
			if value != 0 {
				if k > s.end {
					r.bad = true
					return
				}
				b[natural[k]] = value
			}
		}
	}
	if s.eobRun > 0 {
		s.correct(b, k, 64, delta)
		s.eobRun--
	}
}

// correct refines nonzero coefficients from k on while it skips run zero ones,
// and returns the position of the zero after them.
func (s *scanState) correct(b *block, k, run int, delta int16) int {
	for ; k <= s.end; k++ {
		v := &b[natural[k]]
		if *v == 0 {
			if run == 0 {
				break
			}
			run--
			continue
		}
		if s.r.bit() && *v&delta == 0 {
			if *v > 0 {
				*v += delta
			} else {
				*v -= delta
			}
		}
	}
	return k
}
