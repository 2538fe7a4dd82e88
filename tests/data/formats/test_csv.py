"""Tables of boxes: synonyms of columns, kinds of boxes, units, damaged rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table, parquet

from cvtune.data.formats import ReadSource, csv, detect_format
from cvtune.data.formats.csv_columns import find_columns
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, MissingDependencyError

Files = Callable[..., Path]


@pytest.mark.parametrize(
    ("header", "kind", "described"),
    [
        (
            "filename,width,height,class,xmin,ymin,xmax,ymax",
            "corners",
            "image=filename, class=class, image width=width",
        ),
        ("image,xmin,ymin,xmax,ymax,label", "corners", "image=image, class=label, box (corners)=xmin,ymin,xmax,ymax"),
        ("Image Path,X1,Y1,X2,Y2,Class Name", "corners", "image=Image Path, class=Class Name"),
        ("image_id,width,height,bbox,source", "x, y, width, height in one cell", "image=image_id, image width=width"),
        ("file_name,x,y,width,height,category", "corner and size", "box (corner and size)=x,y,width,height"),
        ("img,x_center,y_center,w,h", "centre and size", "image=img, box (centre and size)=x_center,y_center,w,h"),
        (
            "image_name,label,bbox_x,bbox_y,bbox_w,bbox_h,image_width,image_height",
            "corner and size",
            "image width=image_w",
        ),
        ("Image,x0,y0,x1,y1", "corners", "image=Image, box (corners)=x0,y0,x1,y1"),
        ("image_name,label_name,x1,y1,w,h", "corner and size", "box (corner and size)=x1,y1,w,h"),
        ("fname,bbox_x1,bbox_y1,bbox_x2,bbox_y2,class", "corners", "image=fname, class=class"),
        ("filename,startX,startY,endX,endY,label", "corners", "box (corners)=startX,startY,endX,endY"),
        ("frame,bb_left,bb_top,bb_width,bb_height", "corner and size", "image=frame"),
        ("patientId,x,y,width,height,Target", "corner and size", "image=patientId, box"),
        # Traffic signs of Germany and of LISA, chest X-rays of the NIH.
        ("Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path", "corners", "image=Path, class=ClassId, image width"),
        (
            "Filename,Annotation tag,Upper left corner X,Upper left corner Y,Lower right corner X,Lower right corner Y",
            "corners",
            "image=Filename, class=Annotation tag",
        ),
        ("Image Index,Finding Label,Bbox [x,y,w,h],,,", "corner and size", "class=Finding Label, box"),
        (
            "image_name,BoxesString,domain",
            "x, y, width, height in one cell",
            "box (x, y, width, height in one cell)=Box",
        ),
    ],
)
def test_columns_by_their_names(header: str, kind: str, described: str) -> None:
    columns = find_columns(header.split(","))
    assert columns is not None
    assert columns.kind == kind
    assert described in columns.describe()


@pytest.mark.parametrize(
    "header",
    [
        "a,b,c",
        "filename,class",
        "xmin,ymin,xmax,ymax",
        "filename,xmin,ymin,xmax",
        "filename,x1,y1,x2,y2,x3,y3,x4,y4",  # an oriented box: two of its corners are no upright one
    ],
)
def test_tables_without_image_or_box_are_none(header: str) -> None:
    assert find_columns(header.split(",")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,60,40,x,6,8,30,24\n", (6, 8, 24, 16)),
        ("filename;class;xmin;ymin;xmax;ymax\na.jpg;x;0.1;0.2;0.5;0.6\n", (6, 8, 24, 16)),
        # A spreadsheet of a country with a decimal comma; comments; an address.
        ("filename;class;xmin;ymin;xmax;ymax\na.jpg;x;6,0;8,00;30;24\n", (6, 8, 24, 16)),
        ("# made by hand, in May\r\n#\r\nfilename,class,xmin,ymin,xmax,ymax\r\na.jpg,x,6,8,30,24\r\n", (6, 8, 24, 16)),
        ("#filename,class,xmin,ymin,xmax,ymax\na.jpg,x,6,8,30,24\n", (6, 8, 24, 16)),
        ("url,label,xmin,ymin,xmax,ymax\nhttps://x.org/y/a.jpg?t=1,x,6,8,30,24\n", (6, 8, 24, 16)),
        ("filename\tclass\tcx\tcy\tw\th\na.jpg\tx\t18\t16\t24\t16\n", (6, 8, 24, 16)),
        ('image_id,bbox\na,"[6.0, 8, 24, 16]"\n', (6, 8, 24, 16)),
        ("path,x,y,width,height,label,image_width,image_height\nq/a.jpg,6,8,24,16,x,60,40\n", (6, 8, 24, 16)),
        # makesense.ai's, without a header.
        ("x,6,8,24,16,a.jpg,60,40\nx,1,1,2,2,a.jpg,60,40\n", (6, 8, 24, 16)),
        # Nothing above 1, but whole numbers: a box of one pixel, no share.
        ("filename,class,xmin,ymin,xmax,ymax\na.jpg,x,0,0,1,1\n", (0, 0, 1, 1)),
    ],
)
def test_kinds_of_boxes_separators_and_units(tmp_path: Path, files: Files, read: Any, text: str, expected: Any) -> None:
    files(tmp_path, {"t.csv": text, "a.jpg": (60, 40)})
    dataset, receipt = read("csv", tmp_path)
    assert dataset.annotations[0].bbox_xywh == pytest.approx(expected)
    assert receipt.counts["columns-found"] == 1
    assert csv.detect(tmp_path)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("a.jpg,60,40,x,30,8,6,24", "box-inverted"),
        ("a.jpg,60,40,x,6,8,6,24", "box-zero-area"),
        ("a.jpg,60,40,x,nan,8,30,24", "box-not-numeric"),
        ("a.jpg,60,40,x,1e999,8,30,24", "box-not-numeric"),
        ("a.jpg,60,40,x,,8,30,24", "box-not-numeric"),
        ("a.jpg,60,40,x", "box-missing"),
        ("a.jpg,60,40,,6,8,30,24", "class-missing"),
        ("a.jpg,60,40,x,600,8,630,24", "box-outside"),
        (",60,40,x,6,8,30,24", "image-not-listed"),
        ("b.jpg,,,x,6,8,30,24", "image-missing"),
    ],
)
def test_bad_rows_are_dropped_by_line(tmp_path: Path, files: Files, read: Any, codes: Any, row: str, code: str) -> None:
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    files(tmp_path, {"t.csv": f"{head}\na.jpg,60,40,x,2,3,12,13\n{row}\n"})
    dataset, receipt = read("csv", tmp_path)
    assert len(dataset.annotations) == 1
    [drop] = [e for e in receipt.events if e.kind == "drop"]
    assert (drop.code, drop.where) == (code, "t.csv line 3")


def test_other_columns_stay_with_the_object_and_origin_can_be_said(tmp_path: Path, files: Files, read: Any) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax,Occluded,iscrowd\na.jpg,x,1,1,30,20,yes,1\n"
    files(tmp_path, {"t.csv": text, "a.jpg": (60, 40)})
    dataset, _ = read("csv", tmp_path, origin=1)
    [annotation] = dataset.annotations
    assert (annotation.bbox_xywh, annotation.iscrowd) == ((0, 0, 30, 20), True)
    assert annotation.extra == {"Occluded": "yes"}


def test_tables_of_splits_are_subsets_with_one_list_of_classes(tmp_path: Path, files: Files, read: Any) -> None:
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    files(
        tmp_path,
        {
            "train_labels.csv": f"{head}\na.jpg,60,40,z,2,3,12,13\n",
            "test_labels.csv": f"{head}\nb.jpg,60,40,y,2,3,12,13\n",
            "readme.csv": "nothing,here\n1,2\n",
        },
    )
    assert csv.subsets(tmp_path) == ("test_labels", "train_labels")
    train, _ = read("csv", tmp_path, subset="train_labels")
    assert [(i.id, i.file_name) for i in train.images] == [(2, "a.jpg")]
    assert [c.name for c in train.categories] == ["y", "z"]
    assert len(read("csv", tmp_path)[0].images) == 2
    with pytest.raises(DataError, match="no subset 'trian'; allowed: test_labels, train_labels"):
        read("csv", tmp_path, subset="trian")


def test_same_names_in_several_folders_stay_apart(tmp_path: Path, files: Files, read: Any) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax\nx/a.jpg,c,1,1,9,9\ny/a.jpg,c,1,1,9,9\n"
    files(tmp_path, {"t.csv": text, "images/x/a.jpg": (60, 40), "images/y/a.jpg": (50, 30)})
    dataset, _ = read("csv", tmp_path)
    assert [(i.file_name, i.width, i.path) for i in dataset.images] == [
        ("x/a.jpg", 60, tmp_path / "images/x/a.jpg"),
        ("y/a.jpg", 50, tmp_path / "images/y/a.jpg"),
    ]


ROWS = (
    "TRAIN,gs://b/a.jpg,x,0.1,0.2,,,0.5,0.6,,\nTRAIN,gs://b/a.jpg,y,0.1,0.2,0.5,0.2,0.5,0.6,0.1,0.6\n"
    "TEST,gs://b/b.jpg,x,0.1,0.2,,,0.5,0.6,,\nVALIDATION,gs://b/c.jpg,,,,,,,,,\n"
)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "set,path,label,x_min,y_min,,,x_max,y_max,,\n",
        "set,path,label,x_min,y_min,x_max,y_min,x_max,y_max,x_min,y_max\n",
    ],
)
def test_automl_with_and_without_header(tmp_path: Path, files: Files, read: Any, header: str) -> None:
    files(tmp_path, {"data.csv": header + ROWS, **dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), (60, 40))})
    assert detect_format(tmp_path)[0] == "csv"
    assert csv.subsets(tmp_path) == ("train", "test", "validation")
    train, _ = read("csv", tmp_path, subset="train")
    assert [(a.bbox_xywh, a.category_id) for a in train.annotations] == [((6, 8, 24, 16), 1), ((6, 8, 24, 16), 2)]
    rest, _ = read("csv", tmp_path, subset="validation")
    assert [(i.id, i.file_name) for i in rest.images] == [(3, "c.jpg")]
    assert len(read("csv", tmp_path)[0].images) == 3


def test_automl_without_sets_and_a_column_that_tells_no_splits(tmp_path: Path, files: Files, read: Any) -> None:
    files(tmp_path / "1", {"d.csv": "gs://b/a.jpg,x,0.1,0.2,,,0.5,0.6,,\n", "a.jpg": (60, 40)})
    assert [a.bbox_xywh for a in read("csv", tmp_path / "1")[0].annotations] == [(6, 8, 24, 16)]
    head = "set,filename,class,xmin,ymin,xmax,ymax"
    files(tmp_path / "2", {"d.csv": f"{head}\nblue,a.jpg,x,1,1,9,9\nred,a.jpg,x,1,1,9,9\n", "a.jpg": (60, 40)})
    assert csv.subsets(tmp_path / "2") == ()
    assert [a.extra for a in read("csv", tmp_path / "2")[0].annotations] == [{"set": "blue"}, {"set": "red"}]


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1....PAR1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert detect_format(tmp_path) == ("csv", "t.parquet, a Parquet table (pyarrow is not installed)")
    with pytest.raises(MissingDependencyError, match=r"Parquet needs pyarrow.*: pip install 'cvtune\[parquet\]'"):
        csv.read(ReadSource(tmp_path), Receipt())


def test_parquet_as_csv(tmp_path: Path, files: Files, read: Any) -> None:
    rows = [
        {"image": {"bytes": b"jpeg", "path": "a.jpg"}, "label": "x", "bbox": [6, 8, 24, 16], "day": date(2024, 5, 1)},
        {"image": {"bytes": b"jpeg", "path": "a.jpg"}, "label": None, "bbox": [1, 2, 3, 4], "day": None},
    ]
    parquet.write_table(Table.from_pylist(rows).append_column("raw", [[b"1", b"2"]]), tmp_path / "t.parquet")
    files(tmp_path, {"a.jpg": (60, 40)})
    assert detect_format(tmp_path)[0] == "csv"
    dataset, receipt = read("csv", tmp_path)
    assert [(a.bbox_xywh, a.extra) for a in dataset.annotations] == [((6, 8, 24, 16), {"day": "2024-05-01"})]
    assert receipt.classes_dropped == {None: 1}
    assert [(e.code, e.detail) for e in receipt.events if e.code == "attributes-lost"] == [
        ("attributes-lost", "the columns raw")
    ]


def test_damaged_parquet_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1....PAR1")
    assert csv.detect(tmp_path) is None
    with pytest.raises(DataError, match=r"no \.csv, \.tsv, \.parquet file with columns of an image and a box"):
        csv.read(ReadSource(tmp_path), Receipt())


def test_a_class_of_whole_images_is_no_class_of_objects(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    rows = "a.png,Mass,1,2,3,4\nb.png,No finding,,,,\nb.png,Nodule,x,y,,\n" + "b.png,No finding,,,,\n" * 3
    files(tmp_path, {"t.csv": f"image,class,xmin,ymin,xmax,ymax\n{rows}", "a.png": (9, 9), "b.png": (9, 9)})
    dataset, receipt = read("csv", tmp_path)
    assert [category.name for category in dataset.categories] == ["Mass", "Nodule"]
    assert detect_format(tmp_path)[0] == "csv"
    assert codes(receipt, "drop") == ["box-missing", "box-not-numeric", *["box-missing"] * 3]
    assert len(dataset.images) == 2


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [
        ("category_id,category_name", ["17,zebra", "3,ant", "17,zebra"], [(3, "ant"), (17, "zebra")]),
        ("class_id", ["0", "5"], [(0, "0"), (5, "5")]),
        # A number for two names, two for a name, and none.
        ("class_id,class", ["1,a", "1,b"], [(1, "a"), (2, "b")]),
        ("class_id,class", ["1,a", "2,a"], [(1, "a")]),
        ("class_id,class", ["7,b", ",a"], [(1, "a"), (2, "b")]),
        ("class_id,class", ["x,b", "1.5,a"], [(1, "a"), (2, "b")]),
    ],
)
def test_numbers_of_classes_are_kept(
    tmp_path: Path, files: Files, read: Any, columns: str, rows: list[str], expected: list[tuple[int, str]]
) -> None:
    lines = "".join(f"a.jpg,1,2,{3 + n},4,{row}\n" for n, row in enumerate(rows))
    files(tmp_path, {"t.csv": f"image,xmin,ymin,xmax,ymax,{columns}\n{lines}", "a.jpg": (60, 40)})
    dataset, _ = read("csv", tmp_path)
    assert [(category.id, category.name) for category in dataset.categories] == expected
    assert len(dataset.annotations) == len(rows)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        (["[6, 8, 30, 24]", "[40, 30, 60, 40]"], (6, 8, 24, 16)),
        (["[6, 8, 24, 16]", "[40, 30, 20, 10]"], (6, 8, 24, 16)),
        (["[0.3, 0.4, 0.4, 0.4]", "[0.9, 0.9, 0.2, 0.2]"], (6, 8, 24, 16)),
        (["[6, 8, 24, 16]"], (6, 8, 24, 16)),  # nothing tells
    ],
)
def test_four_numbers_in_one_cell_are_told_by_their_images(
    tmp_path: Path, files: Files, read: Any, boxes: list[str], expected: Any
) -> None:
    rows = "".join(f'a.jpg,"{box}",x\n' for box in boxes)
    files(tmp_path, {"t.csv": f"image,bbox,label\n{rows}", "a.jpg": (60, 40)})
    dataset, receipt = read("csv", tmp_path)
    assert dataset.annotations[0].bbox_xywh == pytest.approx(expected)
    assert receipt.counts["box-layout-found"] == 1
    assert "box-clipped" not in receipt.counts


TWO = [("a.jpg", "x", (6, 8, 24, 16)), ("a.jpg", "y", (40, 30, 20, 10))]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        # NumPy's and other ways to set four numbers apart.
        ("t.csv", "image,label,bbox\na.jpg,x,[ 6.  8. 24. 16.]\na.jpg,y,40 30 20 10\n", TWO),
        ("t.csv", 'image,label,bbox\na.jpg,x,"array([6., 8., 24., 16.])"\na.jpg,y,"(40, 30, 20, 10)"\n', TWO),
        ("t.csv", 'image,label,bbox\na.jpg,x,"[np.float64(6.0), 8, 24, 16]"\na.jpg,y,"40,30,20,10"\n', TWO),
        # All boxes of an image in one cell; an image without any.
        ("t.csv", "image_name,BoxesString,class\na.jpg,6 8 30 24;40 30 60 40,x\nb.jpg,no_box,\n",
         [("a.jpg", "x", (6, 8, 24, 16)), ("a.jpg", "x", (40, 30, 20, 10))]),
        ("t.csv", "image,boxes,labels\na.jpg,[[6 8 24 16] [40 30 20 10]],['x' 'y']\nb.jpg,[],[]\n", TWO),
        # The images in a column whose name does not say so.
        ("t.csv", "id,class,x1,y1,x2,y2\na.jpg,x,6,8,30,24\na.jpg,y,40,30,60,40\n", TWO),
        # Without a header: with a number for the class, without a class, the class first, the image's size last.
        ("t.csv", "a.jpg,6,8,30,24,3\na.jpg,40,30,60,40,4\n", [("a.jpg", "3", TWO[0][2]), ("a.jpg", "4", TWO[1][2])]),
        ("t.csv", "a.jpg,6,8,30,24\na.jpg,40,30,60,40\n", [(n, "object", box) for n, _, box in TWO]),
        ("t.csv", "a.jpg,x,6,8,30,24\na.jpg,y,40,30,60,40\n", TWO),
        ("t.csv", "a.jpg,6,8,30,24,x,60,40\na.jpg,40,30,60,40,y,60,40\n", TWO),
        # Most would be inside out as corners: a corner and a size.
        ("t.csv", "a.jpg,40,30,20,10,y\na.jpg,6,8,24,16,x\na.jpg,50,30,9,8,z\n",
         [TWO[1], TWO[0], ("a.jpg", "z", (50, 30, 9, 8))]),
        # Text files: known by their lines; beside them notes and lists of images are none.
        ("t.txt", "C:\\data\\a.jpg,6,8,30,24,x\nC:\\data\\a.jpg,40,30,60,40,y\n", TWO),
        ("gt.txt", "a.jpg;6;8;30;24;3\na.jpg;40;30;60;40;4\n",
         [("a.jpg", "3", TWO[0][2]), ("a.jpg", "4", TWO[1][2])]),
        ("t.txt", "/x/a.jpg 6,8,30,24,0 40,30,60,40,1\n/x/b.jpg\n",
         [("a.jpg", "0", TWO[0][2]), ("a.jpg", "1", TWO[1][2])]),
    ],
)  # fmt: skip
def test_tables_as_users_have_them(
    tmp_path: Path, files: Files, read: Any, name: str, text: str, expected: list[Any]
) -> None:
    files(tmp_path, {name: text, "a.jpg": (60, 40), "b.jpg": (60, 40), "notes.txt": "a.jpg\nb.jpg\n"})
    assert detect_format(tmp_path)[0] == "csv"
    dataset, receipt = read("csv", tmp_path)
    names = {category.id: category.name for category in dataset.categories}
    images = {image.id: image.file_name for image in dataset.images}
    found = [(images[a.image_id], names[a.category_id], a.bbox_xywh) for a in dataset.annotations]
    assert found == [(image, category, pytest.approx(box)) for image, category, box in expected]
    assert len(images) == 1 + ("b.jpg" in text)
    assert receipt.counts.keys() <= {"columns-found", "box-layout-found", "class-assumed"}


def test_tables_lie_below_others_too(tmp_path: Path, files: Files, read: Any) -> None:
    files(
        tmp_path, {"classes.csv": "x,0\n", "a/t.csv": "image,xmin,ymin,xmax,ymax\nb.jpg,6,8,30,24\n", "b.jpg": (60, 40)}
    )
    assert detect_format(tmp_path)[0] == "csv"
    assert len(read("csv", tmp_path)[0].annotations) == 1


def test_numbers_of_classes_are_named_by_the_list_beside_a_table_without_a_header(
    tmp_path: Path, files: Files, read: Any
) -> None:
    content = {"_annotations.txt": "a.jpg 6,8,30,24,1\n", "_classes.txt": "cat\ndog\n", "a.jpg": (60, 40)}
    files(tmp_path, {f"{split}/{name}": value for split in ("train", "valid") for name, value in content.items()})
    dataset, _ = read("csv", tmp_path, subset="valid")
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "dog")]
    assert [i.file_name for i in dataset.images] == ["valid/a.jpg"]


@pytest.mark.parametrize(
    "cell", ["{'x': 1, 'w': 2, 'y': 3, 'h': 4}", "[[1, 2], [9, 2], [9, 8], [1, 8]]", "1 2 3", "1 2 3 4;5 6"]
)
def test_a_cell_that_is_no_box_is_told(tmp_path: Path, files: Files, read: Any, codes: Any, cell: str) -> None:
    files(tmp_path, {"t.csv": f'image,bbox,label\na.jpg,"{cell}",x\na.jpg,"[6, 8, 24, 16]",x\n', "a.jpg": (60, 40)})
    dataset, receipt = read("csv", tmp_path)
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == ["box-not-numeric"]
