/**
 * The components that the base library brings, as far as they are here, with their templates: `html-x` is the browser's own <x>,
 * `<slot/>` what stands inside. They are compiled with the program's.
 */

const SLOT = '<slot/>'
const FIELD_PLACEHOLDER = '<html-div class="preview-placeholder placeholder-class" style="{{placeholderStyle}}">{{placeholder}}</html-div>'

export const TEMPLATES: Readonly<Record<string, string>> = {
  view: SLOT,
  'cover-view': SLOT,
  text: SLOT,
  button: SLOT,
  label: SLOT,
  form: SLOT,
  navigator: SLOT,
  'checkbox-group': SLOT,
  'radio-group': SLOT,
  'root-portal': SLOT,
  'page-container': SLOT,
  'page-meta': SLOT,
  picker: SLOT,
  'swiper-item': SLOT,
  'scroll-view': '<html-div class="preview-scroll"><slot/></html-div>',
  swiper: '<html-div class="preview-swiper"><slot/></html-div><html-div class="preview-dots"/>',
  input: `<html-div class="preview-field-box"><html-input class="preview-field"/>${FIELD_PLACEHOLDER}</html-div>`,
  textarea: `<html-div class="preview-field-box"><html-textarea class="preview-field"/>${FIELD_PLACEHOLDER}</html-div>`,
  image: '<html-img class="preview-image"/>',
  'cover-image': '<html-img class="preview-image"/>',
  switch: "<html-div class=\"preview-switch {{checked ? 'preview-on' : ''}}\"/>",
  checkbox: "<html-div class=\"preview-box {{checked ? 'preview-on' : ''}}\"/><slot/>",
  radio: "<html-div class=\"preview-box preview-round {{checked ? 'preview-on' : ''}}\"/><slot/>",
  slider: '<html-input type="range" class="preview-slider"/><html-span class="preview-told" hidden="{{!showValue}}">{{value}}</html-span>',
  progress:
    '<html-div class="preview-progress"><html-div class="preview-progress-bar"/></html-div><html-span class="preview-told" hidden="{{!showInfo}}">{{percent}}%</html-span>',
  canvas: '<html-canvas class="preview-canvas"/>',
  icon: '',
  'rich-text': '',
  'navigation-bar': '',
}

export const BUILT_IN: readonly string[] = [...Object.keys(TEMPLATES), 'slot', 'block']

/** Where the template of a built-in component is found among the program's. */
export function builtInPath(tag: string): string {
  return `wx://${tag}`
}
