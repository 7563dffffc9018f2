package pickle

import (
	"errors"
	"fmt"
)

// most is how much memory, roughly in bytes, a pickle's values may take, its
// transient ones included. A checkpoint of ViT-L with its optimizer's state
// takes 4 MB; the tensors' data lie outside of the pickle.
const most = 24 << 20

// What values cost, roughly.
const (
	costStep      = 24 // an opcode: a slot on the stack and a boxed number
	costItem      = 16
	costContainer = 64
	costMemo      = 64
)

// machine is the stack machine.
type machine struct {
	r          *Reader
	stack      []any
	marks      []int // heights of the stack
	memo       map[uint64]any
	spent      int64
	persistent []*Persistent
	done       bool
}

// Decode reads one pickle. Faults in it are of type *Error.
func Decode(r *Reader) (*Pickle, error) {
	m := &machine{r: r, memo: map[uint64]any{}}
	for !m.done {
		at := r.Offset()
		c, err := r.byte()
		if err != nil {
			return nil, &Error{Offset: at, Problem: "the pickle can't be read", Err: err}
		}
		op := opcodes[c]
		if op.run == nil {
			problem := fmt.Sprintf("there is no opcode 0x%02x", c)
			if op.name != "" {
				problem = "this opcode reaches outside of the pickle and is refused"
			}
			return nil, &Error{Offset: at, Opcode: op.name, Problem: problem}
		}
		err = m.spend(costStep)
		if err == nil {
			err = op.run(m)
		}
		if e := (*Error)(nil); errors.As(err, &e) {
			e.Offset, e.Opcode = at, op.name
			return nil, e
		}
		if err != nil {
			return nil, &Error{Offset: at, Opcode: op.name, Problem: "the pickle is broken", Err: err}
		}
	}
	if len(m.stack) != 1 || len(m.marks) != 0 {
		return nil, &Error{Offset: r.Offset() - 1, Opcode: "STOP", Problem: fmt.Sprintf("the pickle is broken: it ends with %d values instead of 1", len(m.stack))}
	}
	return &Pickle{Value: m.stack[0], Persistent: m.persistent}, nil
}

// spend charges memory to the account.
func (m *machine) spend(n int64) error {
	if m.spent += n; m.spent > most {
		return fmt.Errorf("its values take more than %d MB, and those of a checkpoint take few", most>>20)
	}
	return nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// floor is the height of the stack above the last mark.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

var errStack = errors.New("a value is missing from the stack")

func (m *machine) pop() (any, error) {
	n := len(m.stack) - 1
	if n < m.floor() {
		return nil, errStack
	}
	v := m.stack[n]
	m.stack = m.stack[:n]
	return v, nil
}

func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errStack
	}
	return m.stack[len(m.stack)-1], nil
}

// popMark returns a copy of the values above the last mark and drops them.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errors.New("a mark is missing from the stack")
	}
	floor := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	return m.take(len(m.stack) - floor)
}

// take pops n values, the last one last.
func (m *machine) take(n int) ([]any, error) {
	from := len(m.stack) - n
	if from < m.floor() {
		return nil, errStack
	}
	if err := m.spend(costItem * int64(n)); err != nil {
		return nil, err
	}
	out := make([]any, n)
	copy(out, m.stack[from:])
	m.stack = m.stack[:from]
	return out, nil
}

// text reads n bytes as part of a value.
func (m *machine) text(n uint64) ([]byte, error) {
	if n > most {
		return nil, fmt.Errorf("a text of %d bytes", n)
	}
	if err := m.spend(int64(n)); err != nil {
		return nil, err
	}
	return m.r.bytes(n)
}

// line reads a line as part of a value.
func (m *machine) line() (string, error) {
	s, err := m.r.line(1 << 20)
	if err != nil {
		return "", err
	}
	return s, m.spend(int64(len(s)))
}
