"""XML files of VOC's relatives, as VOC would say them: FAIR1M, Colabeler and HRSC2016."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

__all__ = ["as_voc"]

# Of HRSC2016's rotated boxes, what roLabelImg calls the same.
HRSC_BOX = {"mbox_cx": "cx", "mbox_cy": "cy", "mbox_w": "w", "mbox_h": "h", "mbox_ang": "angle"}
SIDES = ("xmin", "ymin", "xmax", "ymax")


def as_voc(root: Element) -> Element:
    """The root as VOC's <annotation>; as it is where it is of no relative."""
    if root.tag == "annotation" and root.find("objects") is not None and root.find("object") is None:
        return _fair1m(root)
    if root.tag == "doc" and root.find("outputs") is not None:
        return _colabeler(root)
    return _hrsc(root) if root.tag == "HRSC_Image" else root


def _fair1m(root: Element) -> Element:
    """FAIR1M: <objects> of <points>, each ``x,y``; the last is the first again."""
    voc = _annotation(root, root.findtext("source/filename"), "size/width", "size/height")
    for item in root.iterfind("objects/object"):
        element = _object(voc, item.findtext("possibleresult/name"))
        if item.findtext("coordinate", "pixel").strip() == "pixel":
            polygon = SubElement(element, "polygon")
            for n, point in enumerate(item.iterfind("points/point"), start=1):
                x, _, y = (point.text or "").partition(",")
                _add(polygon, f"x{n}", x)
                _add(polygon, f"y{n}", y)
    return voc


def _colabeler(root: Element) -> Element:
    """Colabeler's own XML: <item>s with VOC's boxes, or polygons as Roboflow writes them."""
    name = (root.findtext("path") or "").replace("\\", "/").rpartition("/")[2]
    voc = _annotation(root, name, "size/width", "size/height")
    for item in root.iterfind("outputs/object/item"):
        _object(voc, item.findtext("name")).extend([child for child in item if child.tag != "name"])
    return voc


def _hrsc(root: Element) -> Element:
    """HRSC2016: ships by the number of their class, with an upright and a rotated box."""
    names = [(root.findtext(tag) or "").strip() for tag in ("Img_FileName", "Img_FileFmt")]
    voc = _annotation(root, ".".join(filter(None, names)), "Img_SizeWidth", "Img_SizeHeight")
    for item in root.iterfind("HRSC_Objects/HRSC_Object"):
        element = _object(voc, item.findtext("Class_ID"))
        for flag in ("truncated", "difficult"):
            _add(element, flag, item.findtext(flag))
        upright, rotated = SubElement(element, "bndbox"), SubElement(element, "robndbox")
        for side in SIDES:
            _add(upright, side, item.findtext(f"box_{side}"))
        for tag, called in HRSC_BOX.items():
            _add(rotated, called, item.findtext(tag))
    return voc


def _annotation(root: Element, file_name: str | None, width: str, height: str) -> Element:
    voc = Element("annotation")
    _add(voc, "filename", file_name)
    size = SubElement(voc, "size")
    _add(size, "width", root.findtext(width))
    _add(size, "height", root.findtext(height))
    return voc


def _object(voc: Element, name: str | None) -> Element:
    element = SubElement(voc, "object")
    _add(element, "name", name)
    return element


def _add(element: Element, tag: str, text: str | None) -> None:
    SubElement(element, tag).text = text
