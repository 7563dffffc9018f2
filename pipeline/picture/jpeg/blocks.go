package jpeg

// sequentialBlock keeps the next bits in registers: half of the time that a
// photograph takes goes by here. It is symbol and extend, written out.
func sequentialBlock(s *scanState, c *scanComponent, b *block) {
	r := &s.r
	c.pred += r.extend(uint(r.symbol(c.dc) & 15))
	b[0] = int16(c.pred)
	s.flat = true
	table := &c.ac.look
	acc, n := r.acc, r.n
	for k := 1; k < 64; k++ {
		if n < 32 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		entry := table[acc>>(64-lookBits)]
		symbol := uint8(entry)
		if entry != 0 {
			acc <<= entry >> 8 & 63
			n -= uint(entry >> 8)
		} else {
			r.acc, r.n = acc, n
			symbol = r.symbol(c.ac)
			acc, n = r.acc, r.n
		}
		size := uint(symbol & 15)
		if size == 0 {
			if symbol != 0xf0 {
				break
			}
			k += 15
			continue
		}
		if k += int(symbol >> 4); k > 63 {
			r.bad = true
			break
		}
		v := int32(acc >> ((64 - size) & 63))
		acc <<= size & 63
		n -= size
		v += (v>>((size-1)&31) - 1) & (1 - 1<<(size&31)) // the sign convention of T.81, without a branch
		b[natural[k]&63] = int16(v)
		s.flat = false
	}
	r.acc, r.n = acc, n
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
