package typescript

import "strings"

// lines splits a text as JavaScript does.
func lines(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(text), "\n")
}

// lineOf returns a line by its number from 1, or nothing.
func lineOf(lines []string, number int) string {
	if number < 1 || number > len(lines) {
		return ""
	}
	return lines[number-1]
}

// toUnits turns a character from 1 into an offset in UTF-16 units, which is
// what source maps count.
func toUnits(line string, column int) (units int) {
	for _, r := range line {
		if column--; column < 1 {
			return units
		}
		units += width(r)
	}
	return units + max(column-1, 0)
}

// toCharacters is the reverse of toUnits.
func toCharacters(line string, units int) int {
	column := 1
	for _, r := range line {
		if units <= 0 {
			break
		}
		units -= width(r)
		column++
	}
	return column + max(units, 0)
}

// width returns the UTF-16 units of a character.
func width(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}
