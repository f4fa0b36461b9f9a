// Package sim runs whole networks of devices inside one goroutine: two to
// eight devices, one clock, a line that loses, repeats, reorders and delays,
// programs that die between any two writes of their store, and stores that are
// restored from an old copy. All of it follows from one number, the seed.
//
// The package knows no network. A [World] is one: its server in memory and
// its machines. [Bind] makes a [Network] of it, [Generate] a [Script] from a
// seed, [Network.Play] carries a script out and holds what came of it against
// the rules:
//
//   - [RuleReads]: every entitled device reads every acknowledged message, once.
//   - [RuleSecret]: no other device ever does, whatever the server shows it,
//     and nothing leaves in clear.
//   - [RuleKeys]: no key and no index is used twice.
//   - [RuleLists]: device lists converge.
//   - [RuleOrder]: what one device sends is read in the order it was sent, or
//     told in that order to wait for its key.
//
// [Shrink] takes steps out of a script that breaks a rule for as long as it
// still does. A failure is its seed, its steps and what each of them did.
package sim
