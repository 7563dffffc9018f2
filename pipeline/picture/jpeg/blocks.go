package jpeg

// sequentialBlock reads a block. Half of the time that a photograph takes goes
// by here.
func sequentialBlock(s *scanState, c *scanComponent, b *block) {
	r := &s.r
	c.pred += r.number(uint(r.symbol(c.dc) & 15))
	b[0] = int16(c.pred)
	table := &c.ac.look
	k := 0
next:
	for k < 63 {
		r.fill()
		acc, n := r.acc, r.n
		// So many short numbers are there now: asking for each of them whether
		// there are bits enough costs more, since the answers can't be predicted.
		for range 57 / lookBits {
			e := table[acc>>(64-lookBits)]
			whole := e.whole()
			if whole == 0 {
				r.acc, r.n = acc, n
				symbol := r.symbol(c.ac)
				size := uint(symbol & 15)
				if size == 0 && symbol != 0xf0 {
					break next
				}
				k += int(symbol>>4) + 1
				if size != 0 {
					b[natural[k&127]&63] = int16(r.number(size))
				}
				continue next
			}
			acc <<= whole
			n -= whole
			k += e.run() + 1
			b[natural[k&127]&63] = e.value()
			if k >= 63 {
				break
			}
		}
		r.acc, r.n = acc, n
	}
	r.bad = r.bad || k > 63 // what went to natural's unused places then
}

func dcFirst(s *scanState, c *scanComponent, b *block) {
	c.pred += s.r.number(uint(s.r.symbol(c.dc) & 15))
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
		b[natural[k]] = int16(r.number(size) << s.low)
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
