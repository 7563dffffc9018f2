package onnx

import (
	_ "embed"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// operatorTable is what the operators of ai.onnx and com.microsoft take and
// give in every version; testdata/recipes/operators.py writes it and describes
// its columns.
//
//go:embed operators.tsv
var operatorTable string

// newestOpset is the last ai.onnx opset in operatorTable.
const newestOpset = 28

// typeSet holds element types as bits by their number; bit 0 stands for
// everything that is no tensor.
type typeSet uint64

func (s typeSet) has(t DType) bool { return t >= 0 && t < 64 && s>>t&1 == 1 }

// only returns the one tensor type in the set, Undefined if it isn't one.
func (s typeSet) only() DType {
	if bits.OnesCount64(uint64(s)) != 1 {
		return Undefined
	}
	return DType(bits.TrailingZeros64(uint64(s)))
}

func (s typeSet) String() string {
	var names []string
	for t := DType(1); t < 64; t++ {
		if s.has(t) {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, ", ")
}

// formal is an input or output as an operator declares it.
type formal struct {
	variable string // formals of one variable have one type; "" for none
	types    typeSet
	optional bool
	repeated bool
	least    int // of a repeated one
}

// signature is what an operator takes and gives from one opset on.
type signature struct {
	since      int64
	withdrawn  bool
	inputs     []formal
	outputs    []formal
	attributes map[string]string // kind, as in the table
}

// operators returns the table by domain:operator, each by rising version.
var operators = sync.OnceValues(func() (map[string][]*signature, error) {
	table := map[string][]*signature{}
	for line := range strings.Lines(operatorTable) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) != 8 {
			return nil, fmt.Errorf("operators.tsv: %d columns in %q, expected 8", len(columns), line)
		}
		s, err := parseSignature(columns)
		if err != nil {
			return nil, fmt.Errorf("operators.tsv: %q: %w", line, err)
		}
		key := columns[0] + ":" + columns[1]
		table[key] = append(table[key], s)
	}
	return table, nil
})

func parseSignature(columns []string) (*signature, error) {
	s := &signature{withdrawn: columns[3] == "x", attributes: map[string]string{}}
	var err error
	if s.since, err = strconv.ParseInt(columns[2], 10, 64); err != nil {
		return nil, err
	}
	types := map[string]typeSet{}
	for _, item := range list(columns[7]) {
		name, text, _ := strings.Cut(item, "=")
		set, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			return nil, err
		}
		types[name] = typeSet(set)
	}
	for _, item := range list(columns[6]) {
		name, kind, _ := strings.Cut(item, ":")
		s.attributes[name] = kind
	}
	if s.inputs, err = parseFormals(columns[4], types); err != nil {
		return nil, err
	}
	s.outputs, err = parseFormals(columns[5], types)
	return s, err
}

func list(column string) []string {
	if column == "" {
		return nil
	}
	return strings.Split(column, ",")
}

func parseFormals(column string, types map[string]typeSet) ([]formal, error) {
	var out []formal
	for _, item := range list(column) {
		var f formal
		item, mixed := strings.CutSuffix(item, "~")
		item, f.optional = strings.CutSuffix(item, "?")
		item, least, repeated := strings.Cut(item, "*")
		if f.repeated = repeated; least != "" {
			n, err := strconv.Atoi(least)
			if err != nil {
				return nil, err
			}
			f.least = n
		}
		if literal, ok := strings.CutPrefix(item, "0x"); ok {
			set, err := strconv.ParseUint(literal, 16, 64)
			if err != nil {
				return nil, err
			}
			f.types = typeSet(set)
		} else if f.types, ok = types[item]; !ok {
			return nil, fmt.Errorf("no types for %s", item)
		} else if !mixed {
			f.variable = item
		}
		out = append(out, f)
	}
	return out, nil
}

// formalAt returns the formal of position i, false where there are fewer.
func formalAt(formals []formal, i int) (formal, bool) {
	if i < len(formals) {
		return formals[i], true
	}
	if n := len(formals); n > 0 && formals[n-1].repeated {
		return formals[n-1], true
	}
	return formal{}, false
}

// signatureOf returns what the operator takes and gives in an opset of its
// domain. Nothing but nil is known of domains that the table doesn't have, of
// operators of com.microsoft that it doesn't have, and of opsets newer than it
// is; an operator that an opset doesn't have is an error.
func signatureOf(domain, op string, version int64) (*signature, error) {
	table, err := operators()
	if err != nil {
		return nil, err
	}
	all := table[domain+":"+op]
	switch {
	case domain != "" && all == nil, domain == "" && version > newestOpset:
		return nil, nil
	case all == nil:
		return nil, fmt.Errorf("ai.onnx has no operator %s", op)
	}
	i := slices.IndexFunc(all, func(s *signature) bool { return s.since > version }) - 1
	switch {
	case i == -2:
		i = len(all) - 1
	case i == -1:
		return nil, fmt.Errorf("operator %s exists from opset %d on, and the model imports %d", op, all[0].since, version)
	}
	if all[i].withdrawn {
		return nil, fmt.Errorf("operator %s was withdrawn in opset %d, and the model imports %d", op, all[i].since, version)
	}
	return all[i], nil
}
