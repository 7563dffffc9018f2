package pickle

import "fmt"

// opcode is one instruction; one without run is refused.
type opcode struct {
	name string
	run  func(*machine) error
}

// opcodes are numbered and named as in Python's pickletools.
var opcodes = [256]opcode{
	'(': {"MARK", func(m *machine) error { m.marks = append(m.marks, len(m.stack)); return nil }},
	'.': {"STOP", func(m *machine) error { m.done = true; return nil }},
	'0': {"POP", runPop},
	'1': {"POP_MARK", func(m *machine) error { _, err := m.popMark(); return err }},
	'2': {"DUP", runDup},

	'N':  {"NONE", constant(nil)},
	0x88: {"NEWTRUE", constant(true)},
	0x89: {"NEWFALSE", constant(false)},
	'I':  {"INT", runInt},
	'L':  {"LONG", runLong},
	'J':  {"BININT", runNumber(4, func(u uint64) any { return int64(int32(u)) })},
	'K':  {"BININT1", runNumber(1, func(u uint64) any { return int64(u) })},
	'M':  {"BININT2", runNumber(2, func(u uint64) any { return int64(u) })},
	0x8a: {"LONG1", runBigInt(1)},
	0x8b: {"LONG4", runBigInt(4)},
	'F':  {"FLOAT", runFloat},
	'G':  {"BINFLOAT", runBinFloat},

	'S':  {"STRING", runString},
	'T':  {"BINSTRING", runText(4)},
	'U':  {"SHORT_BINSTRING", runText(1)},
	'V':  {"UNICODE", runUnicode},
	'X':  {"BINUNICODE", runText(4)},
	0x8c: {"SHORT_BINUNICODE", runText(1)},
	0x8d: {"BINUNICODE8", runText(8)},
	'B':  {"BINBYTES", runBytes(4)},
	'C':  {"SHORT_BINBYTES", runBytes(1)},
	0x8e: {"BINBYTES8", runBytes(8)},
	0x96: {"BYTEARRAY8", runBytes(8)},
	0x97: {"NEXT_BUFFER", nil},
	0x98: {"READONLY_BUFFER", nil},

	')':  {"EMPTY_TUPLE", func(m *machine) error { m.push(Tuple{}); return nil }},
	't':  {"TUPLE", ofMark(func(m *machine, v []any) any { return Tuple(v) })},
	0x85: {"TUPLE1", runTuple(1)},
	0x86: {"TUPLE2", runTuple(2)},
	0x87: {"TUPLE3", runTuple(3)},
	']':  {"EMPTY_LIST", container(func() any { return &List{} })},
	'l':  {"LIST", ofMark(func(m *machine, v []any) any { return &List{v} })},
	'a':  {"APPEND", runAppend},
	'e':  {"APPENDS", runAppends},
	'}':  {"EMPTY_DICT", container(func() any { return &Dict{} })},
	'd':  {"DICT", runDict},
	's':  {"SETITEM", runSetItem},
	'u':  {"SETITEMS", runSetItems},
	0x8f: {"EMPTY_SET", container(func() any { return &Set{} })},
	0x90: {"ADDITEMS", runAppends},
	0x91: {"FROZENSET", ofMark(func(m *machine, v []any) any { return &Set{v} })},

	'g':  {"GET", runGetText},
	'h':  {"BINGET", runGet(1)},
	'j':  {"LONG_BINGET", runGet(4)},
	'p':  {"PUT", runPutText},
	'q':  {"BINPUT", runPut(1)},
	'r':  {"LONG_BINPUT", runPut(4)},
	0x94: {"MEMOIZE", func(m *machine) error { return m.remember(uint64(len(m.memo))) }},

	'c':  {"GLOBAL", runGlobal},
	0x93: {"STACK_GLOBAL", runStackGlobal},
	'i':  {"INST", runInst},
	'o':  {"OBJ", runObj},
	'R':  {"REDUCE", runReduce},
	0x81: {"NEWOBJ", runReduce}, // the class instead of a function
	0x92: {"NEWOBJ_EX", runNewObjEx},
	'b':  {"BUILD", (*machine).build},
	'P':  {"PERSID", runPersIDText},
	'Q':  {"BINPERSID", runPersID},
	0x82: {"EXT1", nil},
	0x83: {"EXT2", nil},
	0x84: {"EXT4", nil},
	0x80: {"PROTO", runProto},
	0x95: {"FRAME", func(m *machine) error { _, err := m.r.number(8); return err }},
}

func constant(v any) func(*machine) error {
	return func(m *machine) error { m.push(v); return nil }
}

func container(empty func() any) func(*machine) error {
	return func(m *machine) error { m.push(empty()); return m.spend(costContainer) }
}

// ofMark makes a value of all that lies above the last mark.
func ofMark(f func(*machine, []any) any) func(*machine) error {
	return func(m *machine) error {
		v, err := m.popMark()
		if err != nil {
			return err
		}
		m.push(f(m, v))
		return m.spend(costContainer)
	}
}

func runProto(m *machine) error {
	v, err := m.r.byte()
	if err == nil && v > 5 {
		err = fmt.Errorf("protocol %d; 0 to 5 are known", v)
	}
	return err
}

func runPop(m *machine) error {
	if n := len(m.marks); n > 0 && m.marks[n-1] == len(m.stack) { // as Python: POP drops a mark too
		m.marks = m.marks[:n-1]
		return nil
	}
	_, err := m.pop()
	return err
}

func runDup(m *machine) error {
	v, err := m.top()
	m.push(v)
	return err
}

func runTuple(n int) func(*machine) error {
	return func(m *machine) error {
		v, err := m.take(n)
		m.push(Tuple(v))
		return err
	}
}

func runAppend(m *machine) error {
	v, err := m.take(1)
	if err != nil {
		return err
	}
	return m.add(v)
}

func runAppends(m *machine) error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	return m.add(v)
}

func runDict(m *machine) error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	d := &Dict{}
	m.push(d)
	if err := m.spend(costContainer); err != nil {
		return err
	}
	return m.fill(d, v)
}

func runSetItem(m *machine) error {
	v, err := m.take(2)
	if err != nil {
		return err
	}
	return m.put(v)
}

func runSetItems(m *machine) error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	return m.put(v)
}
