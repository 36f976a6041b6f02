import uni from '@dcloudio/vite-plugin-uni'
import { defineConfig } from 'vite'

// The plugin is CommonJS; where Node reads it as a module, its function is one level deeper.
const plugin = (uni as unknown as { default?: typeof uni }).default || uni

export default defineConfig({ plugins: [plugin()] })
