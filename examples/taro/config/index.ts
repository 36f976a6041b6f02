import { defineConfig } from '@tarojs/cli'

export default defineConfig({
  projectName: 'dazi-taro-example',
  date: '2026-11-27',
  designWidth: 750,
  sourceRoot: 'src',
  outputRoot: 'dist',
  framework: 'react',
  compiler: 'vite',
  plugins: [],
  mini: {},
})
