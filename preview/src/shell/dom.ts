/** Elements in few words. */

type Content = string | Node

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Record<string, unknown> = {},
  ...content: Content[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) Reflect.set(made, name, value)
    else made.setAttribute(name, String(value))
  }
  made.append(...content)
  return made
}
