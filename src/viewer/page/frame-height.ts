/**
 * How high the frame of HTML mail is: it cannot tell by itself, since nothing in it may run. Its reader pulls the bar
 * below it with mouse or finger, or moves it with the keyboard (a window splitter of the ARIA Authoring Practices).
 */
import { el } from './dom.ts'
import { say } from './texts.ts'

/** Shares of the window's height, in percent. */
const LEAST = 20
const MOST = 1000
const AT_FIRST = 60
const STEPS: Readonly<Record<string, number>> = { ArrowUp: -5, ArrowDown: 5, PageUp: -50, PageDown: 50 }

let handles = 0

/** @param frame gets an id and its height @returns the bar to be put below it */
export function heightHandle(frame: HTMLElement): HTMLElement {
  frame.id = `frame-${++handles}`
  let percent = AT_FIRST
  const handle = el('div', {
    className: 'handle',
    tabIndex: 0,
    attributes: {
      role: 'separator',
      'aria-orientation': 'horizontal',
      'aria-label': say('height'),
      'aria-controls': frame.id,
      'aria-valuemin': String(LEAST),
      'aria-valuemax': String(MOST),
    },
  })
  const set = (wanted: number): void => {
    percent = Math.min(MOST, Math.max(LEAST, wanted))
    frame.style.height = `${percent}vh`
    const rounded = String(Math.round(percent))
    handle.setAttribute('aria-valuenow', rounded)
    handle.setAttribute('aria-valuetext', say('heightNow', { percent: rounded }))
  }
  set(AT_FIRST)
  handle.addEventListener('keydown', (event) => {
    const step = STEPS[event.key]
    if (step !== undefined) set(percent + step)
    else if (event.key === 'Home') set(LEAST)
    else if (event.key === 'End') set(MOST)
    else return
    event.preventDefault()
    handle.scrollIntoView({ block: 'nearest' })
  })
  // Captured, and the mail's frame, which may be another process's, lets through what moves over it. Measured in the window: the place on the page
  // changes with the page's height, and so with what it sets.
  handle.addEventListener('pointerdown', (event) => {
    handle.setPointerCapture(event.pointerId)
    frame.classList.add('pulled')
    const [fromY, fromPercent] = [event.clientY, percent]
    const moved = ({ clientY }: PointerEvent): void => set(fromPercent + ((clientY - fromY) * 100) / window.innerHeight)
    const ended = (): void => {
      frame.classList.remove('pulled')
      handle.removeEventListener('pointermove', moved)
    }
    handle.addEventListener('pointermove', moved)
    handle.addEventListener('lostpointercapture', ended, { once: true })
  })
  return handle
}
