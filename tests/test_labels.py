"""Class names in the order of the networks that have another than ILSVRC's."""

from dreamjax.labels import class_index, imagenet_labels, imagenet_labels_2015


def test_labels_of_2015_are_the_same_classes_in_another_order():
    """The first and the last names are those of the file that comes with the graph."""
    labels = imagenet_labels_2015()
    assert len(labels) == 1008
    assert labels[:5] == (
        *("dummy", "kit fox", "English setter", "Siberian husky"),
        "Australian terrier",
    )
    assert labels[998:1001] == ("stole", "carbonara", "dumbbell")
    assert sorted(labels[1:1001]) == sorted(imagenet_labels())
    assert class_index("espresso", labels) != class_index("espresso", imagenet_labels())
