import { Button, Input, Text, View } from '@tarojs/components'
import { useState } from 'react'
import { useAnswer } from '../../answer'
import './index.css'

export default function Chat() {
  const [question, setQuestion] = useState('你好')
  const { text, status, error, ask, stop } = useAnswer()
  const isBusy = status !== '' && status !== 'ended'
  return (
    <View className='page'>
      <Text className='answer' userSelect>{text}</Text>
      {text && <Text className='label'>AI 生成</Text>}
      {error && <Text className='error'>{error}</Text>}
      <Input className='question' value={question} confirmType='send' onInput={({ detail }) => setQuestion(detail.value)} onConfirm={() => ask(question)} />
      {isBusy ? <Button onClick={stop}>停止</Button> : <Button type='primary' disabled={!question} onClick={() => ask(question)}>发送</Button>}
    </View>
  )
}
