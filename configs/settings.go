package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Setting is one key of a configuration with its value, as YAML has it.
type Setting struct {
	Key   string `json:"key"` // dotted
	Value string `json:"value"`
}

// Settings lists every key with its value, in the order of the schema.
func (c *Config) Settings() []Setting { return settingsOf(reflect.ValueOf(*c), "") }

func settingsOf(v reflect.Value, prefix string) []Setting {
	var out []Setting
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("yaml")
		if f := v.Field(i); isGroup(f.Type()) {
			out = append(out, settingsOf(f, key+".")...)
		} else {
			out = append(out, Setting{key, written(f)})
		}
	}
	return out
}

// written writes a value as --set takes it.
func written(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case Size:
		if x.Rows == x.Cols {
			return strconv.Itoa(x.Rows)
		}
		return fmt.Sprintf("[%d, %d]", x.Rows, x.Cols)
	}
	if k := v.Kind(); k == reflect.Slice || k == reflect.Array {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = written(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// Changed lists the settings that differ from the defaults.
func (c *Config) Changed() ([]Setting, error) {
	defaults, err := Load(nil, nil)
	if err != nil {
		return nil, err
	}
	var out []Setting
	usual := defaults.Settings()
	for i, s := range c.Settings() {
		if s != usual[i] {
			out = append(out, s)
		}
	}
	return out, nil
}
