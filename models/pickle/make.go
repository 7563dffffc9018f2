package pickle

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// global pushes a name, if it is in the list.
func (m *machine) global(module, name string) error {
	g := Global{module, name}
	if allowed[g] == refused {
		return refuse(g)
	}
	m.push(g)
	return nil
}

func refuse(g Global) error {
	shown := g
	shown.Module, shown.Name = clip(g.Module), clip(g.Name)
	return &Error{Global: shown.String(), Problem: fmt.Sprintf("it names %s, which isn't among the names that files of weights need; nothing in the file was run", shown)}
}

// clip makes a text from outside fit for a message.
func clip(s string) string {
	const longest = 80
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	if utf8.ValidString(s) && fmt.Sprintf("%q", s) == `"`+s+`"` {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// call pushes what calling a global gives.
func (m *machine) call(f any, args any) error {
	g, ok := f.(Global)
	if !ok {
		return fmt.Errorf("%s is called", Kind(f))
	}
	a, ok := args.(Tuple)
	if !ok {
		return fmt.Errorf("%s is called with %s instead of a tuple", g, Kind(args))
	}
	if err := m.spend(costContainer); err != nil {
		return err
	}
	switch allowed[g] {
	case call:
		m.push(&Call{Func: g, Args: a})
		return nil
	case mapping:
		return m.mapping(g, a)
	case list, set:
		items, err := m.elements(g, a)
		if err != nil {
			return err
		}
		if allowed[g] == list {
			m.push(&List{Items: items})
		} else {
			m.push(&Set{Items: items})
		}
		return nil
	}
	return &Error{Global: g.String(), Problem: fmt.Sprintf("it calls %s, and files of weights have no need of that; nothing in the file was run", g)}
}

// mapping makes a dict: empty, of another dict, or of a list of pairs.
func (m *machine) mapping(g Global, args Tuple) error {
	d := &Dict{}
	if len(args) == 0 {
		m.push(d)
		return nil
	}
	switch from := args[0].(type) {
	case Global, nil: // what a defaultdict makes of missing keys
	case *Dict:
		if err := m.spend(2 * costItem * int64(len(from.Keys))); err != nil {
			return err
		}
		d.Keys, d.Values = append(d.Keys, from.Keys...), append(d.Values, from.Values...)
	case *List:
		if err := m.spend(2 * costItem * int64(len(from.Items))); err != nil {
			return err
		}
		for _, item := range from.Items {
			k, v, ok := pair(item)
			if !ok {
				return fmt.Errorf("%s is made of a list that holds %s instead of a pair", g, Kind(item))
			}
			d.Keys, d.Values = append(d.Keys, k), append(d.Values, v)
		}
	default:
		return fmt.Errorf("%s is made of %s", g, Kind(from))
	}
	m.push(d)
	return nil
}

func pair(v any) (key, value any, ok bool) {
	var items []any
	switch v := v.(type) {
	case Tuple:
		items = v
	case *List:
		items = v.Items
	}
	if len(items) != 2 {
		return nil, nil, false
	}
	return items[0], items[1], true
}

// elements are those of which a sequence or set is made: none, or a list's or
// tuple's.
func (m *machine) elements(g Global, args Tuple) ([]any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var from []any
	switch v := args[0].(type) {
	case *List:
		from = v.Items
	case Tuple:
		from = v
	default:
		return nil, fmt.Errorf("%s is made of %s", g, Kind(v))
	}
	if err := m.spend(costItem * int64(len(from))); err != nil {
		return nil, err
	}
	return slices.Clone(from), nil
}

// build sets the state of the value on top of the stack.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *Call:
		v.State = state
	case *Dict:
		v.State = state
	default:
		return fmt.Errorf("a state is set on %s", Kind(v))
	}
	return nil
}

// add appends items to the list or set on top of the stack.
func (m *machine) add(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if err := m.spend(costItem * int64(len(items))); err != nil {
		return err
	}
	switch v := v.(type) {
	case *List:
		v.Items = append(v.Items, items...)
	case *Set:
		v.Items = append(v.Items, items...)
	default:
		return fmt.Errorf("items are appended to %s", Kind(v))
	}
	return nil
}

// put adds keys and values, in turn, to the dict on top of the stack.
func (m *machine) put(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	d, ok := v.(*Dict)
	if !ok {
		return fmt.Errorf("items are set on %s", Kind(v))
	}
	return m.fill(d, items)
}

func (m *machine) fill(d *Dict, items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a key has no value")
	}
	if err := m.spend(costItem * int64(len(items))); err != nil {
		return err
	}
	for i := 0; i < len(items); i += 2 {
		d.Keys, d.Values = append(d.Keys, items[i]), append(d.Values, items[i+1])
	}
	return nil
}

// Kind names a value's type for messages.
func Kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case float64:
		return "a float"
	case string:
		return "a text"
	case Bytes:
		return "bytes"
	case Tuple:
		return "a tuple"
	case *List:
		return "a list"
	case *Set:
		return "a set"
	case *Dict:
		return "a dict"
	case Global:
		return v.String()
	case *Call:
		return "a result of " + v.Func.String()
	case *Persistent:
		return "a stored object"
	}
	return "an integer"
}
