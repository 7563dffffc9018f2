package configs

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// MarshalYAML writes 224 for a square and [rows, columns] otherwise.
func (s Size) MarshalYAML() (any, error) {
	if s.Rows == s.Cols {
		return s.Rows, nil
	}
	return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: fmt.Sprint(s.Rows)},
		{Kind: yaml.ScalarNode, Value: fmt.Sprint(s.Cols)},
	}}, nil
}

// Marshal writes the configuration as YAML, every key with the explanation
// that defaults.yaml has for it. Parse reads it back to an equal Config.
func (c *Config) Marshal() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var values, documented yaml.Node
	if err := values.Encode(c); err != nil {
		return nil, fmt.Errorf("writing the configuration as YAML: %w", err)
	}
	text, err := PresetText(defaultsName)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(text, &documented); err != nil {
		return nil, fmt.Errorf("reading the explanations of the configuration's keys: %w", err)
	}
	explain(&values, documented.Content[0])
	var b bytes.Buffer
	b.WriteString("# The resolved configuration of a run: relevit finetune -c config.yaml repeats it.\n\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&values); err != nil {
		return nil, fmt.Errorf("writing the configuration as YAML: %w", err)
	}
	return b.Bytes(), nil
}

// explain copies the comments of one mapping to the equal keys of another and
// puts lists on one line.
func explain(values, documented *yaml.Node) {
	for i := 0; i+1 < len(values.Content); i += 2 {
		key, value := values.Content[i], values.Content[i+1]
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle
		}
		for j := 0; j+1 < len(documented.Content); j += 2 {
			from := documented.Content[j]
			if from.Value != key.Value {
				continue
			}
			key.HeadComment = from.HeadComment
			value.LineComment = documented.Content[j+1].LineComment
			if value.Kind == yaml.MappingNode {
				explain(value, documented.Content[j+1])
			}
		}
	}
}
