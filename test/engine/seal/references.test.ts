import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addSealedReferences, dropSealedReferences } from '../../../src/engine/seal/references.ts'

test('each id is followed by its sealed one, unless it is already', () => {
  const add = (value: string) => addSealedReferences(`References:${value}`, '\n').slice(11)
  assert.equal(add(' <a@b> <c@d>'), ' <a@b>\n\t<a@b.m.ves.world> <c@d>\n\t<c@d.m.ves.world>')
  assert.equal(add(' <a@b> <a@b.m.ves.world>'), ' <a@b> <a@b.m.ves.world>')
  assert.equal(add(' <a@b.m.ves.world>'), ' <a@b.m.ves.world>')
  assert.equal(add(' none <> < a@b >'), ' none <> < a@b >')
  assert.equal(add(' <a@b> <a@b.m.ves.world> <c@d>'), ' <a@b> <a@b.m.ves.world> <c@d>\n\t<c@d.m.ves.world>')
})

test('and goes again, with the white space before it', () => {
  const drop = (value: string) => dropSealedReferences(`References:${value}`).slice(11)
  assert.equal(drop(' <a@b>\r\n\t<a@b.m.ves.world> <c@d>'), ' <a@b> <c@d>')
  assert.equal(drop(' <a@b> x <a@b.m.ves.world>'), ' <a@b> x <a@b.m.ves.world>')
  assert.equal(drop(' <c@d> <a@b.m.ves.world>'), ' <c@d> <a@b.m.ves.world>')
  assert.equal(drop('<a@b><a@b.m.ves.world>'), '<a@b>')
  for (const value of [' <a@b> <c@d>\r\n <a@b>', '<a@b><a@b>', ' <a@b>, <c@d> (x)']) {
    assert.equal(dropSealedReferences(addSealedReferences(`References:${value}`, '\r\n')), `References:${value}`)
  }
})
