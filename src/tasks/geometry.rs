//! From what the model saw to the picture itself.
//!
//! A model tells places in pixels of the picture that it was shown, which has been resized, each axis by a factor of its
//! own. People and programs want the *original's* pixels: those of the file's picture upright, as every viewer shows
//! it, with its EXIF orientation applied (of a frame of a clip: with square pixels). They are counted from the top left
//! corner; a coordinate names a place between pixels, so a box over a whole picture is `0, 0, width, height`.
//!
//! An answer that is right to the pixel of what the model saw is right to half a pixel of that, once it is in the
//! original's pixels: nothing is rounded on the way.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::session::MediaReport;

/// A point that lies outside by no more than this many pixels of what the model saw, a token's side, was meant to lie on
/// the edge.
const SLACK: f64 = 28.0;

/// A place in a picture, in pixels from its top left corner. Serialized as `[x, y]`, in hundredths of a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
}

/// A box in a picture, in pixels from its top left corner; `left < right` and `top < bottom`. Serialized as
/// `[left, top, right, bottom]`, in hundredths of a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// The left edge.
    pub left: f64,
    /// The top edge.
    pub top: f64,
    /// The right edge.
    pub right: f64,
    /// The bottom edge.
    pub bottom: f64,
}

impl Point {
    /// The pixel that the point lies in, column and row, of a picture of this width and height; on the right or bottom
    /// edge, the last one.
    pub fn pixel(&self, [width, height]: [usize; 2]) -> [usize; 2] {
        let within = |x: f64, length: usize| (x.max(0.0) as usize).min(length.saturating_sub(1));
        [within(self.x, width), within(self.y, height)]
    }
}

impl Rect {
    /// The box between two corners, whichever they are; `None` where it has no area or a number is none.
    pub fn between(a: [f64; 2], b: [f64; 2]) -> Option<Rect> {
        let (left, right) = (a[0].min(b[0]), a[0].max(b[0]));
        let (top, bottom) = (a[1].min(b[1]), a[1].max(b[1]));
        let rect = Rect { left, top, right, bottom };
        let finite = [left, top, right, bottom].iter().all(|x| x.is_finite());
        (finite && rect.width() > 0.0 && rect.height() > 0.0).then_some(rect)
    }

    /// Pixels from left to right.
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The middle.
    pub fn centre(&self) -> Point {
        Point { x: (self.left + self.right) / 2.0, y: (self.top + self.bottom) / 2.0 }
    }

    /// The numbers, in the order in which models tell them.
    pub fn corners(&self) -> [f64; 4] {
        [self.left, self.top, self.right, self.bottom]
    }

    /// The whole pixels that the box touches, of a picture of this width and height: left, top, width and height, at
    /// least one each, where the picture has any.
    pub fn pixels(&self, [width, height]: [usize; 2]) -> [usize; 4] {
        let span = |from: f64, to: f64, length: usize| {
            let from = (from.max(0.0) as usize).min(length.saturating_sub(1));
            // Hundredths that are no pixel's worth don't count.
            let to = ((to - 0.01).max(0.0).ceil() as usize).min(length);
            (from, to.saturating_sub(from).max(1))
        };
        let (left, columns) = span(self.left, self.right, width);
        let (top, rows) = span(self.top, self.bottom, height);
        [left, top, columns, rows]
    }

    /// How far two boxes are the same: their common area as a share of what they cover together.
    pub fn iou(&self, other: &Rect) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let common = width.max(0.0) * height.max(0.0);
        common / (self.width() * self.height() + other.width() * other.height() - common)
    }
}

/// How a picture was shown to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    original: [usize; 2],
    resized: [usize; 2],
}

impl View {
    /// A picture of `original` width and height that was shown as one of `resized` width and height; `None` where one of
    /// them has no pixels.
    pub fn new(original: [usize; 2], resized: [usize; 2]) -> Option<View> {
        let some = |size: [usize; 2]| size.iter().all(|&side| side > 0);
        (some(original) && some(resized)).then_some(View { original, resized })
    }

    /// How the medium of a report was shown.
    pub fn of(report: &MediaReport) -> Option<View> {
        View::new(report.original, report.resized)
    }

    /// Width and height of the original, upright.
    pub fn original(&self) -> [usize; 2] {
        self.original
    }

    /// Width and height that the model saw.
    pub fn resized(&self) -> [usize; 2] {
        self.resized
    }

    /// Original pixels per pixel that the model saw, across and down.
    fn factors(&self) -> [f64; 2] {
        [0, 1].map(|axis| self.original[axis] as f64 / self.resized[axis] as f64)
    }

    /// Where a point of the model's answer lies in the original, not beyond its edges; `None` where it is far outside
    /// of the picture, or a number is none.
    pub fn point(&self, told: [f64; 2]) -> Option<Point> {
        let near = [0, 1].map(|axis| (-SLACK..=self.resized[axis] as f64 + SLACK).contains(&told[axis]));
        let [x, y] = self.in_original(told);
        near.iter().all(|&near| near).then_some(Point { x, y })
    }

    /// Where a box of the model's answer, two opposite corners, lies in the original: ordered, and cut at its edges;
    /// `None` where nothing of it lies inside, it has no area, or a number is none.
    pub fn rect(&self, [x0, y0, x1, y1]: [f64; 4]) -> Option<Rect> {
        if ![x0, y0, x1, y1].iter().all(|x| x.is_finite()) {
            return None;
        }
        Rect::between(self.in_original([x0, y0]), self.in_original([x1, y1]))
    }

    /// Cut at the edges of the original.
    fn in_original(&self, told: [f64; 2]) -> [f64; 2] {
        let factors = self.factors();
        [0, 1].map(|axis| (told[axis] * factors[axis]).clamp(0.0, self.original[axis] as f64))
    }

    /// Where a point of the original lies in what the model saw.
    pub fn point_seen(&self, point: Point) -> [f64; 2] {
        let [across, down] = self.factors();
        [point.x / across, point.y / down]
    }

    /// Where a box of the original lies in what the model saw.
    pub fn rect_seen(&self, rect: Rect) -> [f64; 4] {
        let [across, down] = self.factors();
        [rect.left / across, rect.top / down, rect.right / across, rect.bottom / down]
    }
}

/// Hundredths of a pixel are enough for every use, and read well.
fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.x, self.y].map(hundredths).serialize(serializer)
    }
}

impl Serialize for Rect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.corners().map(hundredths).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Point, D::Error> {
        <[f64; 2]>::deserialize(deserializer).map(|[x, y]| Point { x, y })
    }
}

impl<'de> Deserialize<'de> for Rect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rect, D::Error> {
        let [left, top, right, bottom] = <[f64; 4]>::deserialize(deserializer)?;
        Ok(Rect { left, top, right, bottom })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::smart_resize;

    fn view(original: [usize; 2], resized: [usize; 2]) -> View {
        View::new(original, resized).expect("pixels")
    }

    #[test]
    fn axes_have_factors_of_their_own() {
        let view = view([1000, 300], [500, 600]);
        assert_eq!(view.rect([50.0, 60.0, 100.0, 120.0]).map(|r| r.corners()), Some([100.0, 30.0, 200.0, 60.0]));
        assert_eq!(view.point([250.0, 300.0]), Some(Point { x: 500.0, y: 150.0 }));
    }

    #[test]
    fn boxes_are_ordered_cut_and_dropped_where_nothing_is_left() {
        let view = view([100, 100], [100, 100]);
        let corners = |told| view.rect(told).map(|r| r.corners());
        assert_eq!(corners([30.0, 40.0, 10.0, 20.0]), Some([10.0, 20.0, 30.0, 40.0]));
        assert_eq!(corners([-5.0, -1e300, 50.0, 1e300]), Some([0.0, 0.0, 50.0, 100.0]));
        assert_eq!(corners([100.0, 0.0, 140.0, 50.0]), None, "outside");
        assert_eq!(corners([10.0, 10.0, 10.0, 50.0]), None, "no area");
        assert_eq!(corners([f64::NAN, 0.0, 1.0, 1.0]), None);
        assert_eq!(corners([0.0, 0.0, f64::INFINITY, 1.0]), None);
        assert_eq!(view.point([104.0, -3.0]), Some(Point { x: 100.0, y: 0.0 }));
        assert_eq!(view.point([140.0, 5.0]), None);
        assert_eq!(view.point([f64::NAN, 5.0]), None);
        assert!(View::new([0, 5], [28, 28]).is_none() && View::new([5, 5], [28, 0]).is_none());
    }

    #[test]
    fn whole_pixels_of_points_and_boxes() {
        assert_eq!(Point { x: 100.0, y: 3.9 }.pixel([100, 50]), [99, 3]);
        let rect = |l, t, r, b| Rect { left: l, top: t, right: r, bottom: b };
        assert_eq!(rect(1.2, 2.0, 3.0, 4.5).pixels([100, 100]), [1, 2, 2, 3]);
        assert_eq!(rect(99.5, 0.0, 100.0, 0.001).pixels([100, 100]), [99, 0, 1, 1]);
        assert_eq!(rect(0.0, 0.0, 10.0, 10.0).iou(&rect(5.0, 0.0, 15.0, 10.0)), 1.0 / 3.0);
    }

    #[test]
    fn as_json() {
        let rect = Rect { left: 1.005, top: 2.0, right: 1.0 / 3.0 + 5.0, bottom: 7.5 };
        let json = serde_json::to_string(&rect).expect("json");
        assert_eq!(json, "[1.0,2.0,5.33,7.5]");
        let read: Rect = serde_json::from_str(&json).expect("a box");
        assert_eq!(serde_json::to_string(&read).expect("json"), json);
        assert!(serde_json::from_str::<Rect>("[1, 2, 3]").is_err() && serde_json::from_str::<Point>("[1]").is_err());
    }

    /// A model that answers as well as whole numbers can.
    fn answered<const N: usize>(told: [f64; N]) -> [f64; N] {
        told.map(f64::round)
    }

    fn sizes() -> impl Strategy<Value = [usize; 2]> {
        // From thumbnails, which are enlarged, over narrow strips to far beyond the budget.
        prop_oneof![[1usize..60, 1usize..60], [20usize..3000, 20usize..3000], [1usize..100, 3000usize..15_000]]
    }

    proptest! {
        #[test]
        fn a_place_is_found_again_within_half_a_pixel_of_what_the_model_sees(
            original in sizes(), places in [0.0f64..=1.0, 0.0f64..=1.0, 0.0f64..=1.0, 0.0f64..=1.0],
            max in 4usize * 784..1280 * 784,
        ) {
            let Ok((height, width)) = smart_resize(original[1], original[0], 28, 4 * 784, max) else {
                return Ok(()); // Too long and thin for any model.
            };
            let view = view(original, [width, height]);
            let half = [0, 1].map(|axis| 0.5 * original[axis] as f64 / view.resized()[axis] as f64 + 1e-9);
            let [x0, y0, x1, y1] = [0, 1, 2, 3].map(|i| places[i] * original[i % 2] as f64);
            let point = Point { x: x0, y: y0 };
            let found = view.point(answered(view.point_seen(point))).expect("inside");
            prop_assert!((found.x - point.x).abs() <= half[0] && (found.y - point.y).abs() <= half[1], "{point:?} {found:?}");
            if let Some(rect) = Rect::between([x0, y0], [x1, y1]) {
                let seen = answered(view.rect_seen(rect));
                match view.rect(seen) {
                    None => prop_assert!(seen[0] == seen[2] || seen[1] == seen[3], "{rect:?} was seen as {seen:?}"),
                    Some(found) => {
                        for (i, (a, b)) in rect.corners().iter().zip(found.corners()).enumerate() {
                            prop_assert!((a - b).abs() <= half[i % 2], "{rect:?} {found:?}");
                        }
                        prop_assert!(found.left < found.right && found.top < found.bottom);
                        prop_assert!(found.right <= original[0] as f64 && found.bottom <= original[1] as f64);
                    }
                }
            }
        }

        #[test]
        fn whatever_is_answered_lies_inside(original in sizes(), resized in sizes(), told in prop::array::uniform4(any::<f64>())) {
            let view = view(original, resized);
            if let Some(rect) = view.rect(told) {
                prop_assert!(rect.left >= 0.0 && rect.top >= 0.0 && rect.left < rect.right && rect.top < rect.bottom);
                prop_assert!(rect.right <= original[0] as f64 && rect.bottom <= original[1] as f64);
                let [left, top, width, height] = rect.pixels(original);
                prop_assert!(width > 0 && height > 0 && left + width <= original[0] && top + height <= original[1]);
            }
            if let Some(point) = view.point([told[0], told[1]]) {
                let [x, y] = point.pixel(original);
                prop_assert!(x < original[0] && y < original[1]);
            }
        }
    }
}
