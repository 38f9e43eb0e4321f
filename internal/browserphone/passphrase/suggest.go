package passphrase

import "strings"

// words is how many a suggested passphrase has, of 16 bits each: 64 bits, which
// nobody guesses whatever he spends on it.
const words = 4

// Suggest returns a random passphrase of words that can be spoken and typed anywhere
// ("lusab-babad-gutih-tugad"): proquints, arXiv:0901.4016.
func Suggest() string {
	const consonants, vowels = "bdfghjklmnprstvz", "aiou"
	var list []string
	for b := random(2 * words); len(b) > 0; b = b[2:] {
		n := uint(b[0])<<8 | uint(b[1])
		list = append(list, string([]byte{consonants[n>>12], vowels[n>>10&3], consonants[n>>6&15], vowels[n>>4&3], consonants[n&15]}))
	}
	return strings.Join(list, "-")
}
