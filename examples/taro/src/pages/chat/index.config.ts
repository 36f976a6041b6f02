export default definePageConfig({ navigationBarTitleText: 'Dazi' })
