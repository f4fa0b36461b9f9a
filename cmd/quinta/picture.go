package main

import (
	"fmt"
	"strings"
)

// pictureColours are red, green and blue of the four values of a square, as
// other clients of secret chats draw them.
var pictureColours = [4][3]uint8{{255, 255, 255}, {213, 230, 243}, {45, 87, 117}, {47, 153, 201}}

// squares are the rows of a picture as letters: A to D for 0 to 3.
func squares(picture [][]uint8) []string {
	var out []string
	for _, row := range picture {
		var b strings.Builder
		for _, v := range row {
			b.WriteByte('A' + v&3)
		}
		out = append(out, b.String())
	}
	return out
}

// halfBlocks are the rows of a picture in colours, two to a line of the terminal.
func halfBlocks(picture [][]uint8) []string {
	var out []string
	for i := 0; i+1 < len(picture); i += 2 {
		var b strings.Builder
		for j := range min(len(picture[i]), len(picture[i+1])) {
			up, low := pictureColours[picture[i][j]&3], pictureColours[picture[i+1][j]&3]
			fmt.Fprintf(&b, "\x1b[38;2;%d;%d;%dm\x1b[48;2;%d;%d;%dm\u2580", up[0], up[1], up[2], low[0], low[1], low[2])
		}
		out = append(out, b.String()+"\x1b[0m")
	}
	return out
}

// drawn is a picture for the output: in colours on a terminal that has them, in
// letters anywhere else.
func (a *app) drawn(picture [][]uint8) []string {
	if terminal(a.out) && a.getenv("TERM") != "dumb" && a.getenv("NO_COLOR") == "" {
		return halfBlocks(picture)
	}
	return squares(picture)
}
