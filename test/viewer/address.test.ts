/** What the viewer takes from its address, which anybody may have written. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askedMessage, onboardingLink } from '../../src/viewer/page/address.ts'

test('the message asked for: encoded or not, with brackets and suffix or without', () => {
  for (const [search, id] of [
    ['?msgid=m1%40x.org', 'm1@x.org'],
    ['?msgid=m1@x.org&msgid=other', 'm1@x.org'],
    ['?msgid=%3Cm1%40x.org.m.ves.world%3E', 'm1@x.org'],
    ['?a=b&msgid=+m%2B1%25@x.org+', 'm+1%@x.org'],
    ['?msgid=%zz%C3', '%zz\ufffd'],
    [`?msgid=${'i'.repeat(998)}`, 'i'.repeat(998)],
    [`?msgid=${'i'.repeat(999)}`, null],
    ['?msgid=', null],
    ['?msgid=%3C%3E', null],
    ['?m1@x.org', null],
    ['', null],
  ] as const) {
    assert.equal(askedMessage(search), id, search)
  }
})

test('the link of the onboarding mail', () => {
  assert.deepEqual(onboardingLink('#email=a%2Bb%40x.org&token=t-1'), { email: 'a+b@x.org', token: 't-1' })
  assert.deepEqual(onboardingLink('#email=a%40x.org&token='), { email: 'a@x.org', token: '' })
  assert.deepEqual(onboardingLink(`#email=${'a'.repeat(321)}&token=${'t'.repeat(80)}`), { email: '', token: '' })
  assert.deepEqual(onboardingLink(''), { email: '', token: '' })
})
