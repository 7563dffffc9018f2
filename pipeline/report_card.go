package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/relevit/relevit/pipeline/report"
)

// card is the model card: what somebody should know who gets the model.
func (v *runReport) card() (report.Section, error) {
	s := report.Section{Title: "Model card"}
	c, d := v.run.Config, v.run.Config.Data
	classes := "the classes"
	if v.results != nil {
		classes = fmt.Sprintf("the %d classes", v.results.Model.Classes)
	}
	where := []string{"layout " + d.Layout}
	for _, p := range []struct{ name, value string }{{"folder", d.Root}, {"pictures", d.Images}, {"masks", d.Masks}, {"table", d.CSV}, {"list", d.List}, {"annotations", d.Annotations}} {
		if p.value != "" {
			where = append(where, p.name+" "+p.value)
		}
	}
	changed, err := c.Changed()
	if err != nil {
		return s, err
	}
	var recipe []string
	for _, k := range changed {
		if k.Key != "model" && !strings.HasPrefix(k.Key, "data.") {
			recipe = append(recipe, k.Key+": "+k.Value)
		}
	}
	if len(recipe) == 0 {
		recipe = []string{"the defaults of relevit"}
	}
	s.Facts = []report.Fact{
		{Name: "intended use", Value: fmt.Sprintf("Telling %s of the model that it was made from apart in single pictures, where the decision should rest on the object and not on its surroundings, and showing by relevance maps what it rests on.", classes)},
		{Name: "not for", Value: "Other classes, finding where an object is, or decisions about people. The training moves where the model looks; what the original can't tell apart, or learned wrongly, it doesn't mend. How it does on data unlike the held-out pictures has to be measured (relevit evaluate)."},
		{Name: "data", Value: fmt.Sprintf("%d pictures to train on and %d held out, listed in splits/; %s; labels %s, masks %s", v.train, v.held, strings.Join(where, ", "), d.Labels, d.MaskEncoding)},
		{Name: "recipe", Value: strings.Join(recipe, "; ")},
	}
	sums, err := v.checksums()
	if err != nil {
		return s, err
	}
	s.Facts = append(append(s.Facts, sums...), report.Fact{Name: "licence", Value: "To be stated by whoever passes the model on: the licence of the original model goes with its parameters, and that of the pictures and masks may have a say."})
	return s, nil
}

// checksums tell files apart: SHA-256.
func (v *runReport) checksums() ([]report.Fact, error) {
	var out []report.Fact
	add := func(name, file, sum string) {
		if sum != "" {
			out = append(out, report.Fact{Name: name, Value: file + ", SHA-256 " + sum})
		}
	}
	if v.results != nil {
		m := v.results.Model
		add("original", "artifacts/"+sourceArtifact, m.SHA256)
		add("its checkpoint", m.Source, m.SourceSHA256)
	}
	for _, which := range []string{Best, Last} {
		var state State
		err := loadJSON(v.run.Path(checkpoints, which, stateName), &state)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		add("trained", path.Join(checkpoints, which, parametersName), state.SHA256[parametersName])
		break
	}
	for _, list := range []string{trainSplit, validationSplit} {
		sum, _, err := fileSum(v.run.Split(list))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		add("pictures", path.Join(splitsName, list), sum)
	}
	return out, nil
}
