#!/usr/bin/env bash
# Makes the small clips in clips/, one per container, codec and quirk. usage: make_clips.sh   (needs the ffmpeg program)
#
# Frame n is a plane of luma 20 + 6n (as RGB: 1.164 * (4 + 6n)) with a white block in its top left corner, so a test can
# tell from any frame which one it is and how it was turned. 30 frames of 64x48 at 10 frames a second unless said otherwise.
set -euo pipefail
cd "$(dirname "$0")/clips"
ff() { ffmpeg -v error -y -fflags +bitexact "$@"; }
source_of() { echo "color=gray:size=$1:rate=$2:duration=$3,geq=lum='if(lt(X,W/4)*lt(Y,H/4),235,20+6*N)':cb=128:cr=128,format=yuv420p"; }
clip=(-f lavfi -i "$(source_of 64x48 10 3)")
x264=(-c:v libx264 -g 12 -crf 20 -flags:v +bitexact)

ff "${clip[@]}" "${x264[@]}" -bf 3 h264.mp4
ff -i h264.mp4 -c copy h264.mkv
ff -i h264.mp4 -c copy -movflags +frag_keyframe+empty_moov fragmented.mp4
ff -ss 0.5 -i h264.mp4 -c copy edit-list.mov            # begins at frame 5, within a group of pictures
ff -i h264.mp4 -c copy -metadata:s:v rotate=90 turned-90.mp4   # which turns it anticlockwise
ff -i h264.mp4 -c copy -metadata:s:v rotate=180 turned-180.mp4
ff "${clip[@]}" "${x264[@]}" -aspect 16:9 wide-pixels.mp4
# Told by the container alone.
ff -i h264.mp4 -c copy -aspect 16:9 wide-container.mp4
ff -i h264.mp4 -c copy -aspect 16:9 wide-container.mkv
ff "${clip[@]}" -c:v libx264 -crf 20 -g 250 -bf 3 one-group.mp4
ff "${clip[@]}" -c:v libx265 -x265-params log-level=error:keyint=12:open-gop=1:info=0 hevc.mp4
ff "${clip[@]}" -c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=error:info=0 hevc-10bit.mkv
ff "${clip[@]}" -c:v libaom-av1 -cpu-used 8 -g 12 -b:v 50k av1.mkv
ff "${clip[@]}" -c:v libvpx-vp9 -cpu-used 8 -g 12 -b:v 50k vp9.webm
ff "${clip[@]}" -c:v libvpx -cpu-used 8 -g 12 -b:v 50k -auto-alt-ref 1 -lag-in-frames 12 vp8.webm
ff "${clip[@]}" -c:v mpeg4 -bf 2 -q:v 3 mpeg4.avi
ff -i h264.mp4 -c copy h264.flv
ff -i h264.mp4 -c copy h264.ts
ff "${clip[@]}" -c:v mpeg4 -q:v 3 -frames:v 12 mpeg4.3gp
ff "${clip[@]}" -c:v msmpeg4 -q:v 3 wmv.asf
ff -f lavfi -i "$(source_of 64x48 25 1.2)" -c:v mpeg1video -q:v 3 -bf 2 mpeg1.mpg   # which knows only certain rates
ff "${clip[@]}" -c:v libtheora -q:v 8 theora.ogv
ff "${clip[@]}" -vf scale=out_range=full -c:v mjpeg -q:v 5 -frames:v 12 mjpeg.avi
ff "${clip[@]}" -c:v libx264 -crf 20 -vf "scale=out_color_matrix=bt709" -colorspace bt709 bt709.mp4
ff -f lavfi -i "color=orange:size=64x48:rate=10" -frames:v 2 -pix_fmt yuv420p -c:v ffv1 -colorspace bt709 colour.mkv   # told by the container alone
# Each second shows two frames: at its begin and 0.1 s later.
ff "${clip[@]}" -vf "select='lt(mod(n\,10)\,2)'" -fps_mode vfr "${x264[@]}" variable-rate.mp4
ff "${clip[@]}" -vf "select='lt(mod(n\,10)\,2)'" -fps_mode vfr -c:v libvpx-vp9 -cpu-used 8 variable-rate.webm
ff "${clip[@]}" -frames:v 1 "${x264[@]}" one-frame.mp4
ff -f lavfi -i "$(source_of 64x48 100000 0.0003)" -video_track_timescale 100000 "${x264[@]}" fast.mp4
ff "${clip[@]}" -f lavfi -i "color=red:size=32x32:rate=10:duration=3" -f lavfi -i sine=duration=5 \
    -map 0 -map 1 -map 2 -c:v libx264 -crf 20 -c:a libopus -b:a 8k two-streams.mkv   # and sound that lasts longer
ff -f lavfi -i sine=duration=1 -c:a aac -b:a 8k sound.m4a
ff -f lavfi -i sine=duration=1 -f lavfi -i color=red:size=32x32:duration=0.04 -map 0 -map 1 -frames:v 1 -c:a aac -b:a 8k -c:v mjpeg \
    -disposition:v attached_pic cover.m4a
ff "${clip[@]}" -vf "split[a][b];[a]palettegen=max_colors=64:reserve_transparent=0[p];[b][p]paletteuse=dither=none" -frames:v 12 animated.gif
ff "${clip[@]}" -c:v libwebp_anim -lossless 1 -frames:v 12 -loop 0 animated.webp
