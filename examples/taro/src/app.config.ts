export default defineAppConfig({
  pages: ['pages/chat/index'],
  window: { navigationBarTitleText: 'Dazi' },
})
