/** Elements without markup: whatever comes from a message goes into the page as text, never as HTML. */

type Child = Node | string | null
type Properties<E> = Partial<Omit<E, 'attributes'>> & { readonly attributes?: Readonly<Record<string, string>> }

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties<HTMLElementTagNameMap[K]> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const { attributes, ...rest } = properties
  const made = Object.assign(document.createElement(tag), rest)
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value)
  made.append(...children.filter((child) => child !== null))
  return made
}

export function button(label: string, pressed: () => void, kind: 'main' | 'plain' = 'plain'): HTMLButtonElement {
  const made = el('button', { type: 'button', className: kind }, label)
  made.addEventListener('click', pressed)
  return made
}

let fields = 0

/** A label and its field. */
export function field(
  label: string,
  properties: Properties<HTMLInputElement>,
  hint: string | null = null,
): HTMLElement {
  const id = `field-${++fields}`
  const input = el('input', { id, ...properties })
  if (hint === null) return el('div', { className: 'field' }, el('label', { htmlFor: id }, label), input)
  input.setAttribute('aria-describedby', `${id}-hint`)
  const note = el('p', { id: `${id}-hint`, className: 'hint' }, hint)
  return el('div', { className: 'field' }, el('label', { htmlFor: id }, label), input, note)
}
