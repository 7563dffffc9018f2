package benchmarktest

import (
	"fmt"
	"strings"
)

// The pictures of every set have the colours of their own classes, the first of
// them where a label stands for several.

// ImageNet has folders of three classes.
func ImageNet() Set {
	return folders(map[string]int{"n01440764": 0, "n01751748": 65, "n15075141": 999}, 4, "pic_%d.JPEG")
}

// ImageNetV2 has folders of four classes by their numbers.
func ImageNetV2() Set {
	return folders(map[string]int{"0": 0, "2": 2, "10": 10, "999": 999}, 3, "%d.jpeg")
}

// ImageNetA has folders of three of its classes.
func ImageNetA() Set {
	return folders(map[string]int{"n01498041": 6, "n01531178": 11, "n12267677": 988}, 4, "0.0%d_x.jpg")
}

// ImageNetR has folders of three of its classes.
func ImageNetR() Set {
	return folders(map[string]int{"n01443537": 1, "n01484850": 2, "n09472597": 980}, 4, "art_%d.jpg")
}

// ImageNetSketch has folders of three classes.
func ImageNetSketch() Set {
	return folders(map[string]int{"n01440764": 0, "n01443537": 1, "n04606251": 913}, 4, "sketch_%d.JPEG")
}

// FlatTruths are the forms of ground truth of ImageNetFlat, by the files' names.
func FlatTruths() map[string]string {
	// what is published of the first six: class indices and ILSVRC2012_IDs
	return map[string]string{
		"ILSVRC2012_validation_ground_truth.txt":     "490\n361\n171\n822\n297\n482\n",
		"val.txt":                                    "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\nILSVRC2012_val_00000003.JPEG 230\nILSVRC2012_val_00000004.JPEG 809\nILSVRC2012_val_00000005.JPEG 516\nILSVRC2012_val_00000006.JPEG 57\n",
		"imagenet_2012_validation_synset_labels.txt": "n01751748\nn09193705\nn02105855\nn04263257\nn03125729\nn01735189\n",
		"LOC_val_solution.csv":                       "ImageId,PredictionString\nILSVRC2012_val_00000004,n04263257 3 0 363 498 \nILSVRC2012_val_00000001,n01751748 111 108 403 238 \nILSVRC2012_val_00000002,n09193705 5 5 9 9 n09193705 1 1 2 2 \nILSVRC2012_val_00000003,n02105855 0 0 1 1 \nILSVRC2012_val_00000005,n03125729 0 0 1 1 \nILSVRC2012_val_00000006,n01735189 0 0 1 1 \n",
	}
}

// ImageNetFlat has the first six validation pictures, without their labels.
func ImageNetFlat() Set {
	var s Set
	for i, class := range []int{65, 970, 230, 809, 516, 57} {
		s.Pictures = append(s.Pictures, Picture{Path: fmt.Sprintf("ILSVRC2012_val_%08d.JPEG", i+1), Class: class})
	}
	return s
}

// ObjectNet has three folders, one of which stands for two classes and one for
// none. Every picture has a red border of two pixels.
func ObjectNet() Set {
	s := folders(map[string]int{"images/alarm_clock": 409, "images/air_freshener": 5, "images/chair": 423}, 4, "%d.png")
	for i := range s.Pictures {
		s.Pictures[i].Border = 2
	}
	labels := make([]string, 1000) // of ImageNet, in an order of its own
	lines := make([]string, 1000)
	for class := range labels {
		line := (class*7 + 3) % 1000
		labels[line] = fmt.Sprintf("thing %d, object %d", class, class)
		lines[class] = fmt.Sprintf("%q: %d", fmt.Sprint(class), line)
	}
	s.Texts = map[string]string{
		"mappings/folder_to_objectnet_label.json":   `{"alarm_clock": "Alarm clock", "air_freshener": "Air freshener", "chair": "Chair", "banana": "Banana"}`,
		"mappings/objectnet_to_imagenet_1k.json":    `{"Alarm clock": "thing 409, object 409; thing 530, object 530", "Chair": "thing 423, object 423; thing 559, object 559; thing 765, object 765", "Banana": "thing 954, object 954"}`,
		"mappings/imagenet_to_label_2012_v2":        strings.Join(labels, "\n") + "\n",
		"mappings/pytorch_to_imagenet_2012_id.json": "{" + strings.Join(lines, ", ") + "}",
	}
	return s
}

// SIScore has two labels in each of its parts.
func SIScore() Set {
	return folders(map[string]int{"area/ambulance": 407, "area/hot dog": 934, "location20_area02_min0pc/ambulance": 407, "location20_area02_min0pc/hot dog": 934,
		"rotation/ambulance": 407, "rotation/hot dog": 934}, 2, "%d.jpg")
}

// folders has n pictures for each class.
func folders(classes map[string]int, n int, name string) (s Set) {
	for folder, class := range classes {
		for i := range n {
			s.Pictures = append(s.Pictures, Picture{Path: folder + "/" + fmt.Sprintf(name, i), Class: class})
		}
	}
	return s
}
