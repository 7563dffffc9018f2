package pickle

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

func runNumber(size int, f func(uint64) any) func(*machine) error {
	return func(m *machine) error {
		u, err := m.r.number(size)
		m.push(f(u))
		return err
	}
}

// digits is how long a decimal number may be.
const digits = 4300

func runInt(m *machine) error {
	s, err := m.r.line(digits)
	if err != nil {
		return err
	}
	switch s {
	case "00":
		m.push(false)
		return nil
	case "01":
		m.push(true)
		return nil
	}
	return m.integer(s)
}

func runLong(m *machine) error {
	s, err := m.r.line(digits)
	if err != nil {
		return err
	}
	return m.integer(strings.TrimSuffix(s, "L"))
}

func (m *machine) integer(s string) error {
	if len(s) > digits {
		return fmt.Errorf("an integer of %d digits", len(s))
	}
	b, ok := new(big.Int).SetString(strings.TrimSpace(s), 10)
	if !ok {
		return fmt.Errorf("%s is no integer", clip(s))
	}
	m.push(small(b))
	return m.spend(int64(len(s)))
}

// small returns an int64 where the number is one.
func small(b *big.Int) any {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// runBigInt reads a little-endian number in two's complement.
func runBigInt(size int) func(*machine) error {
	return func(m *machine) error {
		n, err := m.r.number(size)
		if err != nil {
			return err
		}
		if n > digits {
			return fmt.Errorf("an integer of %d bytes", n)
		}
		raw, err := m.text(n)
		if err != nil {
			return err
		}
		b := new(big.Int)
		for i := range len(raw) / 2 {
			raw[i], raw[len(raw)-1-i] = raw[len(raw)-1-i], raw[i]
		}
		b.SetBytes(raw)
		if len(raw) > 0 && raw[0]&0x80 != 0 {
			b.Sub(b, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
		m.push(small(b))
		return nil
	}
}

func runFloat(m *machine) error {
	s, err := m.r.line(digits)
	if err != nil {
		return err
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is no number", clip(s))
	}
	m.push(v)
	return nil
}

func runBinFloat(m *machine) error {
	raw, err := m.r.bytes(8)
	if err != nil {
		return err
	}
	u := uint64(0)
	for _, c := range raw {
		u = u<<8 | uint64(c)
	}
	m.push(math.Float64frombits(u))
	return nil
}
