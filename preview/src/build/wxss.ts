/**
 * WXSS to CSS: rpx, `@import`, tag names, and the isolation of components by a prefix of their classes, which the engine
 * writes on their elements as well.
 *
 * Laws: a page's classes, and those of what shares its styles, keep their names; what is imported belongs to who imports it.
 */

import { AtRule, type Container, type Declaration, type Root, type Rule, parse } from 'postcss'
import parseSelector from 'postcss-selector-parser'
import { toCss } from '../lengths.js'
import { type Folder, resolvePath } from './folder.js'
import type { Problem } from './problems.js'

const MOST_IMPORTS = 20 // deep

export interface Sheet {
  css: string
  problems: Problem[]
}

export function compileWxss(folder: Folder, file: string, scope: string): Sheet {
  const problems: Problem[] = []
  const root = readSheet(folder, file, problems, MOST_IMPORTS)
  root.walkDecls((declaration: Declaration) => void (declaration.value = toCss(declaration.value)))
  root.walkAtRules((rule: AtRule) => void (rule.params = toCss(rule.params)))
  root.walkRules((rule: Rule) => {
    if (!isKeyframe(rule)) rule.selector = selectorOf(rule.selector, scope)
  })
  return { css: root.toString(), problems }
}

function readSheet(folder: Folder, file: string, problems: Problem[], depth: number): Root {
  let root: Root
  try {
    root = parse(folder.read(file) || '', { from: file })
  } catch (error) {
    const { reason, message, line } = error as { reason?: string; message: string; line?: number } // postcss's own
    problems.push({ file, ...(line ? { line } : {}), message: reason || message, isError: true })
    return parse('')
  }
  root.walkAtRules('import', (rule: AtRule) => {
    const target = /^(?:url\()?\s*["']?([^"')]+)/.exec(rule.params)?.[1] || ''
    const path = resolvePath(file, target)
    if (depth === 0 || folder.read(path) === undefined) {
      problems.push({ file, line: rule.source?.start?.line || 1, message: `@import ${target}: there is no such file`, isError: true })
      rule.remove()
    } else {
      rule.replaceWith(readSheet(folder, path, problems, depth - 1).nodes)
    }
  })
  return root
}

function isKeyframe(rule: Rule): boolean {
  const parent: Container | undefined = rule.parent as Container | undefined // a rule's parent can hold rules
  return parent instanceof AtRule && parent.name.endsWith('keyframes')
}

function selectorOf(selector: string, scope: string): string {
  return parseSelector((root) => {
    root.walk((node) => {
      if (node.type === 'tag' && node.value !== '*') node.value = `wx-${node.value}`
      else if (node.type === 'class' && scope) node.value = `${scope}--${node.value}`
      else if (node.type === 'pseudo' && node.value === ':host') {
        node.replaceWith(parseSelector.attribute({ attribute: 'wx-host', operator: '=', value: scope, quoteMark: '"', raws: {} }))
      }
    })
  }).processSync(selector)
}
