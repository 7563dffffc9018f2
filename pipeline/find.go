package pipeline

import (
	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
)

// findOf is what is to be found in a model's graph as a configuration states
// it; what stated says goes before it.
func findOf(c *configs.Config, stated models.FindOptions) models.FindOptions {
	o := stated
	if len(o.Attention) == 0 {
		o.Attention = c.Find.Attention
	}
	if o.Grid == [2]int64{} {
		o.Grid = [2]int64{int64(c.Find.Grid.Rows), int64(c.Find.Grid.Cols)}
	}
	if o.PrefixTokens == nil && c.Find.PrefixTokens >= 0 {
		n := int64(c.Find.PrefixTokens)
		o.PrefixTokens = &n
	}
	if o.Output == "" {
		o.Output = c.Find.Logits
	}
	if size := c.Preprocess.ImageSize; o.ImageSize == [2]int64{} {
		o.ImageSize = [2]int64{int64(size.Rows), int64(size.Cols)}
	}
	return o
}
