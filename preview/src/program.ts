/** A mini program that was built: what the builder hands to the runtime, as JSON. */

import type { Problem } from './build/problems.js'

/** The part of app.json, of a page's or a component's json that is looked at. */
export interface Config {
  component?: boolean
  usingComponents?: Record<string, string>
  componentGenerics?: Record<string, unknown>
  componentPlaceholder?: Record<string, string>
  styleIsolation?: string
  navigationBarTitleText?: string
  navigationBarBackgroundColor?: string
  navigationBarTextStyle?: string
  navigationStyle?: string
  backgroundColor?: string
  enablePullDownRefresh?: boolean
  onReachBottomDistance?: number
  disableScroll?: boolean
}

export interface TabBar {
  color?: string
  selectedColor?: string
  backgroundColor?: string
  borderStyle?: string
  list: { pagePath: string; text: string; iconPath?: string; selectedIconPath?: string }[]
}

export interface AppConfig {
  pages: string[]
  window: Config
  darkmode: boolean
  /** Colours by name, for each theme: what `@name` means in `window` and `tabBar`. */
  themes: Record<'light' | 'dark', Record<string, string>>
  tabBar?: TabBar
}

/** What a colour means; `@name` is of theme.json. */
export function colorOf({ themes }: AppConfig, theme: 'light' | 'dark', value: string | undefined, otherwise: string): string {
  return (value?.startsWith('@') ? themes[theme][value.slice(1)] : value) || otherwise
}

export interface Part {
  config: Config
  isPage: boolean
  /** The prefix of its classes; '' for none. */
  scope: string
  css: string
}

export interface Module {
  code: string
  /** What each name in a `require` leads to. */
  requires: Record<string, string>
}

export interface Program {
  name: string
  appid: string
  /** Of ext.json. */
  ext: Record<string, unknown>
  app: AppConfig
  css: string
  /** By path without extension. */
  parts: Record<string, Part>
  /** By path. */
  modules: Record<string, Module>
  /** An expression: the templates' functions by path. */
  templates: string
  problems: Problem[]
  /** Of what a build would upload: code, styles, templates, and images. */
  bytes: number
}
