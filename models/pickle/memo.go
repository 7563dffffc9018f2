package pickle

import (
	"fmt"
	"strconv"
)

func (m *machine) remember(i uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	m.memo[i] = v
	return m.spend(costMemo)
}

func (m *machine) recall(i uint64) error {
	v, ok := m.memo[i]
	if !ok {
		return fmt.Errorf("value %d was never memorised", i)
	}
	m.push(v)
	return nil
}

func (m *machine) index() (uint64, error) {
	s, err := m.r.line(digits)
	if err != nil {
		return 0, err
	}
	i, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is no index", clip(s))
	}
	return i, nil
}

func runGetText(m *machine) error {
	i, err := m.index()
	if err != nil {
		return err
	}
	return m.recall(i)
}

func runGet(size int) func(*machine) error {
	return func(m *machine) error {
		i, err := m.r.number(size)
		if err != nil {
			return err
		}
		return m.recall(i)
	}
}

func runPutText(m *machine) error {
	i, err := m.index()
	if err != nil {
		return err
	}
	return m.remember(i)
}

func runPut(size int) func(*machine) error {
	return func(m *machine) error {
		i, err := m.r.number(size)
		if err != nil {
			return err
		}
		return m.remember(i)
	}
}
