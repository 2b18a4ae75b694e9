//! What a decoded frame says of its colours, as numbers.
//!
//! These numbers stand in the file and come through the decoders as they are: 200 in the `MatrixCoefficients` of a Matroska
//! file is 200 in the frame. The bindings' own methods read them as Rust enumerations, in which such a value is undefined
//! behaviour (it crashes); here nothing is assumed of them.

use std::ffi::c_uint;

use ffmpeg_next::ffi::{AVColorRange, AVColorSpace};
use ffmpeg_next::frame;

/// Of a frame, by the numbers of ITU-T H.273, which ffmpeg's are. Values that mean nothing may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// How YUV was made of RGB: H.273's `MatrixCoefficients`.
    pub matrix: u32,
    /// 1 for video levels, 2 for the full range, 0 where it isn't told.
    pub range: u32,
}

// C's enumerations: what is read is as large as what is there.
const _: () =
    assert!(size_of::<AVColorSpace>() == size_of::<c_uint>() && size_of::<AVColorRange>() == size_of::<c_uint>());

/// What `frame` says.
pub fn of(frame: &frame::Video) -> Colour {
    // SAFETY: the pointer is that of the frame, which lives for this call and isn't written to meanwhile; it isn't null, or
    // the frame could not have been made. Only addresses of its fields are taken, no references, and what is read there is
    // any number of their size and alignment, as the assertion above says.
    unsafe {
        let raw = frame.as_ptr();
        Colour {
            matrix: (&raw const (*raw).colorspace).cast::<c_uint>().read(),
            range: (&raw const (*raw).color_range).cast::<c_uint>().read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ffmpeg_next::color::{Range, Space};

    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard() {
        let mut frame = frame::Video::empty();
        frame.set_color_space(Space::BT709);
        frame.set_color_range(Range::JPEG);
        assert_eq!(of(&frame), Colour { matrix: 1, range: 2 });
        frame.set_color_space(Space::BT2020NCL);
        frame.set_color_range(Range::MPEG);
        assert_eq!(of(&frame), Colour { matrix: 9, range: 1 });
    }

    #[test]
    fn numbers_that_mean_nothing_are_told_too() {
        let mut frame = frame::Video::empty();
        // SAFETY: the frame's own pointer, and a write through it of what a decoder may write there.
        unsafe { (&raw mut (*frame.as_mut_ptr()).colorspace).cast::<c_uint>().write(200) };
        assert_eq!(of(&frame).matrix, 200);
    }
}
